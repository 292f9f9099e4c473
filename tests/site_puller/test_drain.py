from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.files import lock
from glidepost.site_puller import drain as orders
from glidepost.site_puller.breaker import Breakers
from glidepost.site_puller.cli_control import drain, resume
from glidepost.site_puller.drain import Drained
from glidepost.site_puller.evidence import Evidence

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
NAMES = ("cpu", "gpu", "big")
SHAPE = """
[shapes.{name}]
backend = "slurm"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
max_total = 3
"""


# --- the orders


def test_nobody_has_ordered_anything_at_first(tmp_path):
    drained = orders.load(tmp_path / "drained.json")
    assert drained == Drained()
    assert drained.gate("cpu") is None
    assert not drained.is_drained("cpu")


def test_a_drained_shape_submits_nothing_and_gives_back_what_it_queues():
    drained = Drained().with_drained("gpu", NOW)
    assert (drained.gate("gpu").code, drained.gate("gpu").most) == ("drained", 0)
    assert "2026-11-22 09:00 UTC" in drained.gate("gpu").detail
    assert drained.is_drained("gpu")
    assert drained.gate("cpu") is None


def test_to_drain_all_drains_those_of_a_later_configuration_too():
    drained = Drained().with_drained(None, NOW)
    assert drained.is_drained("cpu")
    assert drained.is_drained("new")


def test_to_drain_twice_keeps_the_first_time():
    once = Drained().with_drained("gpu", NOW)
    assert once.with_drained("gpu", NOW + HOUR) == once
    everything = Drained().with_drained(None, NOW)
    assert everything.with_drained(None, NOW + HOUR) == everything
    assert everything.with_drained("gpu", NOW + HOUR).since("gpu") == NOW


def test_to_resume_one_of_all_leaves_the_others_drained():
    drained = Drained().with_drained(None, NOW).with_resumed("gpu", NAMES, NOW + HOUR)
    assert {name: drained.since(name) for name in NAMES} == {"cpu": NOW, "gpu": None, "big": NOW}
    assert drained.resumed == {"gpu": NOW + HOUR}


def test_to_resume_all_forgets_every_order_to_drain():
    drained = Drained().with_drained("gpu", NOW).with_drained(None, NOW).with_resumed(None, NAMES, NOW + HOUR)
    assert [drained.gate(name) for name in NAMES] == [None] * 3
    assert drained.resumed == dict.fromkeys(NAMES, NOW + HOUR)


def test_to_resume_what_is_not_drained_closes_its_breaker():
    drained = Drained().with_resumed("gpu", NAMES, NOW)
    assert (drained.gate("gpu"), drained.resumed) == (None, {"gpu": NOW})


def test_orders_for_shapes_that_are_not_there_any_more_are_forgotten():
    drained = Drained({"old": NOW}, resumed={"older": NOW}).with_resumed("gpu", NAMES, NOW)
    assert drained == Drained(resumed={"gpu": NOW})


def test_orders_come_back_as_they_were_saved(tmp_path):
    drained = Drained().with_drained("gpu", NOW).with_resumed("cpu", NAMES, NOW)
    orders.save(tmp_path / "drained.json", drained)
    assert orders.load(tmp_path / "drained.json") == drained


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"[" * 9999, b'{"shapes": 7}', b'{"everything": "2026-11-22T09:00:00"}']
)
def test_orders_that_cannot_be_read_submit_nothing_and_remove_nothing(tmp_path, body):
    (tmp_path / "drained.json").write_bytes(body)
    drained = orders.load(tmp_path / "drained.json")
    assert drained.gate("cpu").most == 0
    assert "glidepost puller resume" in drained.gate("cpu").detail
    assert not drained.is_drained("cpu")


# --- the commands


@pytest.fixture
def site(tmp_path, site_key, pool_key):
    """The state folder of a site with three shapes."""
    site_key.save(tmp_path / "site.key")
    text = '[site]\nname = "north"\nkey = "site.key"\nstate = "state"\n\n'
    text += f'[pool]\nurl = "https://x.example.org"\npublic_key = "{pool_key.public}"\n'
    (tmp_path / "puller.toml").write_text(text + "".join(SHAPE.format(name=name) for name in NAMES), encoding="utf-8")
    return tmp_path / "state"


@pytest.fixture
def run(site):
    def call(command, *words: str) -> str:
        result = CliRunner().invoke(command, [*words, "--config", str(site.parent / "puller.toml")])
        if result.exception:
            raise result.exception
        return result.output

    return call


def trip(site, shape: str, at: datetime) -> None:
    failed = {name: Evidence(ended={"no-scratch": 3} if name == shape else {}) for name in NAMES}
    Breakers("north").judged(failed, at).save(site / "breaker.json")


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def test_drain_says_what_is_so_now(run, site):
    lines = run(drain, "gpu").splitlines()
    assert lines[0] == "cpu: goes on; from the next cycle on submits what is wanted"
    assert lines[1].startswith("gpu: drained since ")
    assert lines[1].endswith("from the next cycle on nothing is submitted, and what is queued is removed")
    assert orders.load(site / "drained.json").is_drained("gpu")


def test_drain_without_a_shape_drains_all_and_resume_takes_it_back(run):
    assert run(drain).count("drained since") == 3
    assert run(resume, "gpu").count("drained since") == 2
    assert run(resume).count("goes on") == 3


def test_json_has_the_same(run):
    answer = json.loads(run(drain, "gpu", "--json"))
    assert answer["site"] == "north"
    assert [(item["name"], item["drained_since"] is not None) for item in answer["shapes"]] == [
        ("cpu", False),
        ("gpu", True),
        ("big", False),
    ]


def test_a_paused_shape_is_shown_as_such_and_resume_closes_its_breaker(run, site):
    trip(site, "gpu", now() - timedelta(minutes=2))
    assert "gpu: paused until" in run(drain, "cpu")
    assert "`glidepost puller resume gpu` ends that" in run(drain, "cpu")
    assert "gpu: goes on" in run(resume, "gpu")
    drained = orders.load(site / "drained.json")
    assert drained.is_drained("cpu")
    at = now() + timedelta(minutes=5)
    breakers = Breakers.load(site / "breaker.json", "north")
    assert breakers.gate("gpu", at) is not None
    assert breakers.resumed(drained.resumed, at).gate("gpu", at) is None


def test_an_order_to_resume_does_not_outlive_the_next_trip(run, site):
    run(resume, "gpu")
    at = now() + timedelta(minutes=5)
    trip(site, "gpu", at)
    resumed = orders.load(site / "drained.json").resumed
    later = at + timedelta(minutes=5)
    assert Breakers.load(site / "breaker.json", "north").resumed(resumed, later).gate("gpu", later) is not None


def test_neither_waits_for_a_cycle_that_runs(run, site):
    with lock(site / "lock"):
        assert "drained since" in run(drain, "gpu")
        assert "drained since" not in run(resume, "gpu")


def test_two_at_once_do_not_overwrite_each_other(run, site):
    with lock(site / "drained.lock"), pytest.raises(GlidepostError, match="another drain or resume"):
        run(drain, "gpu")
    assert not (site / "drained.json").exists()


@pytest.mark.parametrize("command", [drain, resume])
@pytest.mark.parametrize(("written", "hint"), [("gpus", "did you mean gpu?"), ("zzz", "this site has cpu, gpu, big")])
def test_a_shape_that_there_is_not_is_refused_with_the_right_name(run, site, command, written, hint):
    with pytest.raises(ConfigError, match=f"no shape '{written}'") as caught:
        run(command, written)
    assert caught.value.hint == hint
    assert not (site / "drained.json").exists()


def test_orders_that_cannot_be_read_are_written_anew_only_as_a_whole(run, site):
    site.mkdir()
    (site / "drained.json").write_bytes(b"{")
    with pytest.raises(ConfigError, match="cannot be read"):
        run(drain, "gpu")
    with pytest.raises(ConfigError, match="cannot be read"):
        run(resume, "gpu")
    assert (site / "drained.json").read_bytes() == b"{"
    assert run(drain).count("drained since") == 3
    (site / "drained.json").write_bytes(b"{")
    assert run(resume).count("goes on") == 3


def test_breakers_that_cannot_be_read_do_not_stop_an_order(run, site):
    site.mkdir()
    (site / "breaker.json").write_bytes(b"{")
    assert "big: tries with one glidein after state-lost" in run(drain, "gpu")
    assert (site / "breaker.json").read_bytes() == b"{"


def test_the_state_folder_may_be_another(run, tmp_path, site):
    run(drain, "gpu", "--state", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "drained.json").exists()
    assert not site.exists()


def test_they_need_no_network_library():
    """A person on a slow file system waits for every import; so does cron."""
    code = "import sys, glidepost.site_puller.cli_control; print('requests' in sys.modules, 'boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
