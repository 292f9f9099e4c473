"""The bill of a month."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from glidepost.infra import cost
from glidepost.infra.cli import group
from glidepost.infra.cost import HEARTBEAT_S, MONTH_S, Load, Prices, break_even, month, total
from glidepost.schema.errors import ConfigError

PRICES = Prices.load()


def bill(**load) -> dict[str, float]:
    return {item.name: item.usd for item in month(Load(**load), PRICES)}


def test_a_quiet_site_reports_four_times_an_hour():
    assert Load(sites=1, busy=0).heartbeats == MONTH_S / HEARTBEAT_S
    assert Load(sites=1, busy=1).heartbeats == MONTH_S / 300
    assert Load(sites=1, busy=0, interval_s=1800).heartbeats == MONTH_S / 1800


def test_heartbeats_on_change_save_most_of_what_heartbeats_each_cycle_would_cost():
    quiet, busy = bill(sites=100, busy=0)["heartbeats of sites"], bill(sites=100, busy=1)["heartbeats of sites"]
    assert busy == pytest.approx(4.32)
    assert quiet == pytest.approx(1.44)


def test_every_item_grows_with_the_sites_or_stays():
    few, many = bill(sites=10), bill(sites=1000)
    assert all(many[name] >= few[name] for name in few)
    assert many["heartbeats of sites"] == pytest.approx(100 * few["heartbeats of sites"])


def test_what_is_free_is_not_paid_for():
    load = Load(sites=100)
    assert total(month(load, PRICES, free=True)) < total(month(load, PRICES, free=False))
    free = {item.name: item.usd for item in month(load, PRICES)}
    assert free["Lambda: runs"] == free["CloudFront: requests"] == free["alarms"] == 0


def test_the_virtual_machine_wins_from_some_number_of_sites_on():
    load = Load(sites=1)
    sites = break_even(load, PRICES)
    assert total(month(replace(load, sites=sites), PRICES)) > PRICES.vm_month
    assert total(month(replace(load, sites=sites - 1), PRICES)) <= PRICES.vm_month


def test_the_table_says_its_date_and_where_it_is_from():
    assert len(PRICES.date.split("-")) == 3
    assert "us-east-1" in PRICES.source


def test_a_table_of_ones_own_is_read_and_a_wrong_one_is_named(tmp_path):
    text = (tmp_path.parent / "none").name
    file = tmp_path / "prices.toml"
    file.write_text(f'date = "{text}"\n')
    with pytest.raises(ConfigError, match=r"prices\.toml"):
        Prices.load(file)
    with pytest.raises(ConfigError, match="missing"):
        Prices.load(tmp_path / "missing.toml")


def test_the_command_prints_items_and_their_sum():
    said = CliRunner().invoke(group, ["cost", "--sites", "100", "--interval", "5m"], catch_exceptions=False).output
    assert "heartbeats of sites" in said
    assert f"{total(month(Load(sites=100), PRICES)):.2f}" in said
    assert f"Prices of {PRICES.date}" in said


def test_the_command_prints_json():
    said = CliRunner().invoke(group, ["cost", "--json", "--interval", "15m"], catch_exceptions=False).output
    answer = json.loads(said)
    assert answer["load"]["interval_s"] == 900
    assert answer["usd"] == pytest.approx(sum(item["usd"] for item in answer["items"]), abs=1e-3)


def test_a_duration_without_a_unit_is_refused():
    result = CliRunner().invoke(group, ["cost", "--interval", "5"])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.what == "--interval: '5' is not a duration"


def test_a_run_costs_so_many_requests_and_so_many_more_for_each_site():
    assert cost.Run(2, 3, 1, 10).month(5, MONTH_S) == (7, 53)
