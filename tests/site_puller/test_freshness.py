"""Old copies, demands that are held back, and clocks that are a little wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError, UntrustedDocument
from glidepost.site_puller.freshness import (
    MAX_AGE,
    Seen,
    forget,
    pool_time,
    read_seen,
    refuse_rollback,
    refuse_skew,
    refuse_stale,
    remember,
)

HIGHEST = 2**53 - 1
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def test_the_newest_demand_is_remembered(tmp_path, make_demand):
    state = tmp_path / "state"
    assert read_seen(state) == Seen(0, 0)
    remember(state, make_demand(sequence=918), 2)
    assert read_seen(state) == Seen(2, 918)


def test_what_is_remembered_is_not_written_again(tmp_path, make_demand):
    remember(tmp_path, make_demand(sequence=918), 2)
    before = (tmp_path / "demand.sequence").stat().st_ino
    remember(tmp_path, make_demand(sequence=918), 2)
    assert (tmp_path / "demand.sequence").stat().st_ino == before


def test_a_memory_without_an_epoch_is_one_of_the_first_keys(tmp_path):
    (tmp_path / "demand.sequence").write_text("9\n", encoding="ascii")
    assert read_seen(tmp_path) == Seen(0, 9)


@pytest.mark.parametrize("text", ["", "x", "1.5", "1 x", "1 2 3", "\udcff", "9" * 5000 + "x"])
def test_a_damaged_memory_is_an_error_for_a_person(tmp_path, text):
    (tmp_path / "demand.sequence").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=r"demand\.sequence"):
        read_seen(tmp_path)


def test_an_older_demand_is_refused_and_the_same_is_not(tmp_path, make_demand):
    remember(tmp_path, make_demand(sequence=8), 0)
    refuse_rollback(make_demand(sequence=8), 0, tmp_path)
    refuse_rollback(make_demand(sequence=9), 0, tmp_path)
    with pytest.raises(UntrustedDocument, match="sequence 7, and 8 was seen here before"):
        refuse_rollback(make_demand(sequence=7), 0, tmp_path)


def test_a_pool_that_was_taken_back_may_begin_anew_after_a_thief_used_up_all_numbers(tmp_path, make_demand):
    remember(tmp_path, make_demand(sequence=HIGHEST), 0)
    with pytest.raises(UntrustedDocument, match=f"and {HIGHEST} was seen"):
        refuse_rollback(make_demand(sequence=920), 0, tmp_path)
    refuse_rollback(make_demand(sequence=920), 1, tmp_path)
    remember(tmp_path, make_demand(sequence=920), 1)
    with pytest.raises(UntrustedDocument, match="sequence 919, and 920 was seen"):
        refuse_rollback(make_demand(sequence=919), 1, tmp_path)


def test_the_thiefs_demand_is_refused_where_the_pools_new_one_was_seen(tmp_path, make_demand):
    remember(tmp_path, make_demand(sequence=920), 1)
    with pytest.raises(UntrustedDocument, match=r"920 of keys' epoch 1, not 0, was seen"):
        refuse_rollback(make_demand(sequence=HIGHEST), 0, tmp_path)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, HIGHEST)), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # a function that makes demands
def test_whatever_was_believed_never_goes_back(tmp_path_factory, make_demand, offered):
    state = tmp_path_factory.mktemp("state")
    believed = []
    for epoch, sequence in offered:
        demand = make_demand(sequence=sequence)
        try:
            refuse_rollback(demand, epoch, state)
        except UntrustedDocument:
            continue
        remember(state, demand, epoch)
        believed.append((epoch, sequence))
    assert believed == sorted(believed)


def test_a_demand_is_refused_after_a_day_however_long_it_claims_to_live(make_demand, now):
    frozen = make_demand(generated_at=now, expires_at=now + 3650 * DAY)
    refuse_stale(frozen, now + MAX_AGE)
    with pytest.raises(UntrustedDocument, match="older than a day, however long it claims to live"):
        refuse_stale(frozen, now + MAX_AGE + SECOND)


@pytest.mark.parametrize("life", [timedelta(0), -SECOND, -3650 * DAY])
def test_a_demand_that_ends_before_it_begins_is_refused(make_demand, now, life):
    with pytest.raises(UntrustedDocument, match="ends before it begins"):
        refuse_stale(make_demand(generated_at=now, expires_at=now + life), now - 3650 * DAY)


def test_the_first_and_the_last_time_that_there_are_end_no_cycle(make_demand, now):
    first, last = now.replace(year=1, month=1, day=1), now.replace(year=9999, month=12, day=31)
    for begin, end in ((first, last), (first, now + DAY), (now + DAY, last)):
        with pytest.raises(UntrustedDocument):
            refuse_stale(make_demand(generated_at=begin, expires_at=end), now)


def test_a_clock_that_is_wrong_by_five_minutes_is_told_nothing():
    for seconds in (None, 0, 300, -300):
        refuse_skew(seconds)
    for seconds in (301, -301, 10**12):
        with pytest.raises(UntrustedDocument, match=f"differ by {seconds} s"):
            refuse_skew(seconds)


def test_within_five_minutes_the_stores_clock_decides_and_beyond_it_ours(now):
    assert pool_time(now, None) == now
    assert pool_time(now, -300) == now - 5 * MINUTE
    assert pool_time(now, 300) == now + 5 * MINUTE
    assert pool_time(now, 301) == now
    assert pool_time(now, 10**12) == now


def test_a_fast_clock_does_not_expire_a_demand_early_and_a_slow_one_not_late(make_demand, now):
    """The clocks of some login nodes are wrong by minutes, as long as the life of a demand may be."""
    demand = make_demand(generated_at=now, expires_at=now + 5 * MINUTE)
    ours = now + 7 * MINUTE
    refuse_stale(demand, pool_time(ours, -240))
    with pytest.raises(UntrustedDocument, match="expired"):
        refuse_stale(demand, pool_time(ours, None))
    slow = now + 4 * MINUTE
    with pytest.raises(UntrustedDocument, match="expired"):
        refuse_stale(demand, pool_time(slow, 120))


def test_what_is_forgotten_was_never_seen(tmp_path, make_demand):
    remember(tmp_path, make_demand(sequence=918), 2)
    for _ in range(2):
        forget(tmp_path)
        assert read_seen(tmp_path) == Seen()
