"""A site that the pool has shut out: the word is in the signed demand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from glidepost.backends.base import JobState
from glidepost.schema.keys import SigningKey
from glidepost.site_puller import record

LATER = timedelta(minutes=1)


def test_nothing_is_submitted_and_queued_glideins_are_taken_back(run_cycle, publish, make_group, queue, web, state):
    publish(make_group(4))
    run_cycle()
    queue.become(JobState.RUNNING, 1)
    publish(make_group(9), sequence=8, revoked=("north",), mailbox=False)
    del web.objects["v1/sites/north.json"]
    reports = len(web.posts)
    done = run_cycle(at=LATER)
    assert done.submitted == {"cpu": 0}
    assert [job.state for job in queue.jobs_] == [JobState.RUNNING]
    (line,) = record.load(state / "cycle.json").plans
    assert (line.reason, line.detail) == ("revoked", "this site was shut out by the pool: ask the pool's admin")
    assert len(web.posts) == reports


def test_a_person_is_told_what_happened_and_whom_to_ask(run_cycle, publish, make_group):
    publish(make_group(4), revoked=("east", "north"))
    done = run_cycle()
    (error,) = done.errors
    assert done.exit_code == 2
    assert "this site, north, was shut out by the pool demo" in error.what
    assert "ask the pool's admin" in error.hint


def test_a_mailbox_that_is_still_there_is_not_opened(run_cycle, publish, make_group, state, web):
    publish(make_group(4), revoked=("north",))
    run_cycle()
    assert not (state / "token").exists()
    assert web.posts == []


def test_other_sites_that_are_shut_out_are_no_matter_of_ours(run_cycle, publish, make_group):
    publish(make_group(4), revoked=("east", "north2"))
    done = run_cycle()
    assert (done.exit_code, done.submitted) == (0, {"cpu": 4})


def test_nobody_but_the_pool_can_say_so(run_cycle, publish, make_group, queue):
    publish(make_group(4))
    run_cycle()
    publish(make_group(4), sequence=8, revoked=("north",), key=SigningKey.generate())
    done = run_cycle(at=LATER)
    assert (done.exit_code, len(queue.jobs_)) == (3, 4)


@pytest.mark.parametrize("orders", [True, False])
def test_a_site_that_is_let_in_again_goes_on(run_cycle, publish, make_group, orders):
    publish(make_group(4), revoked=("north",))
    run_cycle()
    publish(make_group(4 if orders else 0), sequence=8)
    done = run_cycle(at=LATER)
    assert (done.exit_code, done.submitted["cpu"]) == (0, 4 if orders else 0)
