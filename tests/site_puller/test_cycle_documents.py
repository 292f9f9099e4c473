"""Whole cycles whose documents are missing or not to be trusted, and what a cycle reports."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pool_tokens import ENDLESS, make_token

from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.keys import SigningKey
from glidepost.site_puller import record
from glidepost.site_puller.ledger import LedgerFile
from glidepost.site_puller.queue import open_queues

MINUTE = timedelta(minutes=1)


# Documents that are not there or not to be trusted


def test_an_untrusted_demand_submits_nothing_and_is_reported(run_cycle, publish, make_group, queue, web):
    publish(make_group(4), key=SigningKey.generate())
    done = run_cycle()
    assert (done.exit_code, done.submitted, done.plans[0].reason) == (3, {"cpu": 0}, "demand-unknown")
    assert queue.requests == []
    report = web.last_heartbeat()
    assert report.demand_sequence is None
    assert "not signed" in report.errors[0]


def test_an_expired_demand_submits_nothing(run_cycle, publish, make_group, queue, now, web):
    publish(make_group(4), at=now - timedelta(hours=1))
    done = run_cycle()
    assert (done.exit_code, queue.requests) == (3, [])
    assert "expired" in web.last_heartbeat().errors[0]


def test_a_demand_that_goes_back_submits_nothing(run_cycle, publish, make_group, queue):
    publish(sequence=8)
    run_cycle()
    publish(make_group(4), sequence=7)
    done = run_cycle(at=MINUTE)
    assert (done.exit_code, queue.requests) == (3, [])
    assert isinstance(done.errors[0], UntrustedDocument)


def test_a_refused_demand_does_not_move_the_sequence(run_cycle, publish, state, now):
    publish(sequence=8)
    run_cycle()
    publish(sequence=99, key=SigningKey.generate())
    run_cycle()
    publish(sequence=98, expires_at=now)
    run_cycle()
    assert (state / "demand.sequence").read_text(encoding="ascii") == "0 8\n"


def test_a_damaged_memory_of_the_sequence_submits_nothing(run_cycle, publish, make_group, queue, state, web):
    publish(make_group(4))
    state.mkdir()
    (state / "demand.sequence").write_text("?", encoding="ascii")
    done = run_cycle()
    assert (done.exit_code, queue.requests, len(web.posts)) == (2, [], 1)


def test_without_a_mailbox_no_glidein_could_join_and_none_is_submitted(
    run_cycle, publish, make_group, queue, web, state
):
    publish(make_group(4), mailbox=False)
    done = run_cycle()
    assert (done.exit_code, queue.requests, web.posts) == (1, [], [])
    assert isinstance(done.errors[0], StoreError)
    assert not (state / "token").exists()


def test_without_a_store_nothing_is_submitted_and_nothing_forgotten(run_cycle, publish, make_group, make_config, state):
    publish(make_group(4))
    run_cycle()
    before = LedgerFile(state / "ledger.json").load(was_here=True)[0].entries.keys()
    done = run_cycle(make_config(url="http://127.0.0.1:1"), at=MINUTE)
    assert (done.exit_code, done.submitted, len(done.errors)) == (1, {"cpu": 0}, 1)
    assert LedgerFile(state / "ledger.json").load(was_here=True)[0].entries.keys() == before


def test_a_damaged_key_stops_everything(run_cycle, publish, make_group, make_config, queue, state):
    publish(make_group(4))
    config = make_config()
    (state.parent / "site.key").write_text("?", encoding="ascii")
    with pytest.raises(ConfigError):
        run_cycle(config)
    assert queue.requests == []


# The heartbeat


def test_heartbeats_are_sent_on_change_and_every_15_minutes(run_cycle, publish, web, now):
    publish()
    sent = []
    for minute in (0, 5, 10, 15, 20):
        web.date = now + minute * MINUTE
        run_cycle(at=minute * MINUTE)
        sent.append(len(web.posts))
    assert sent == [1, 1, 1, 2, 2]
    assert web.last_heartbeat().sequence == 2


def test_a_heartbeat_says_when_the_pool_token_ends_and_a_new_token_alone_is_no_reason_to_send(
    run_cycle, publish, web, now
):
    publish()
    run_cycle()
    assert web.last_heartbeat().token_expires_at is None
    for minutes, sent in ((5, 1), (10, 1), (15, 2)):
        web.date = now + minutes * MINUTE
        publish(at=web.date, token=make_token(web.date, timedelta(hours=48)))
        run_cycle(at=minutes * MINUTE)
        assert len(web.posts) == sent
    assert web.last_heartbeat().token_expires_at == now + 15 * MINUTE + timedelta(hours=48)


def test_outcomes_are_reported_once(run_cycle, publish, web, state):
    publish()
    (state / "outcomes").mkdir(parents=True)
    (state / "outcomes" / "a.json").write_text('{"kind": "outcome/1", "outcome": "deadline"}', encoding="utf-8")
    run_cycle()
    assert web.last_heartbeat().outcomes == {"deadline": 1}
    assert list((state / "outcomes").iterdir()) == []


def test_a_failed_heartbeat_loses_no_outcomes_and_undoes_nothing(run_cycle, publish, make_group, web, state):
    publish(make_group(4))
    (state / "outcomes").mkdir(parents=True)
    (state / "outcomes" / "a.json").write_text('{"kind": "outcome/1", "outcome": "deadline"}', encoding="utf-8")
    web.post_status = 403
    done = run_cycle()
    assert (done.exit_code, done.submitted) == (1, {"cpu": 4})
    assert isinstance(done.errors[0], StoreError)
    assert "HTTP 403" in record.load(state / "cycle.json").errors[0]
    web.post_status = 204
    run_cycle(at=MINUTE)
    assert web.last_heartbeat().outcomes == {"deadline": 1}


def test_a_heartbeat_that_cannot_be_written_undoes_nothing(
    run_cycle, publish, make_group, make_config, make_shape, state
):
    publish(make_group(4))
    done = run_cycle(make_config(make_shape(max_total=10**10)))
    assert (done.exit_code, done.submitted) == (1, {"cpu": 4})
    assert "refused to write a heartbeat/1" in done.errors[0].what
    assert record.load(state / "cycle.json").plans == done.plans


def test_nothing_secret_is_in_a_heartbeat_or_a_record(run_cycle, publish, make_group, web, state):
    publish(make_group(4))
    run_cycle()
    text = str(web.last_heartbeat().to_json()) + (state / "cycle.json").read_text(encoding="utf-8")
    assert "s3cret" not in text
    assert ENDLESS not in text


def test_each_shape_has_its_own_backend_and_prefix(make_config, make_shape, tmp_path):
    shapes = (
        make_shape("here", options={"folder": str(tmp_path)}),
        make_shape("there", backend="slurm", command_prefix=("ssh", "login01")),
    )
    queues = open_queues(make_config(*shapes))
    assert {name: queue.backend.name for name, queue in queues.items()} == {"here": "local", "there": "slurm"}
    assert queues["there"].identity[0] == ("ssh", "login01")
