"""No glidein is submitted that would lose the pool in its middle."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pool_tokens import ENDLESS, encoded, make_token

from glidepost.infra.aggregator.words import reason
from glidepost.schema import idtoken
from glidepost.schema.errors import UntrustedDocument
from glidepost.site_puller.pool_token import HINT, MARGIN_S, SHORT, TokenLife

HOUR = timedelta(hours=1)
NO_TOKENS = {
    "empty": "",
    "two parts": "aaa.bbb",
    "four parts": f"{ENDLESS}.x",
    "no base64": "aaa.é.ccc",
    "no JSON": f"aaa.{encoded('x')[:-2]}.ccc",
    "a list": f"aaa.{encoded([1])}.ccc",
    "an end that is text": f"aaa.{encoded({'exp': '1'})}.ccc",
    "an end that is true": f"aaa.{encoded({'exp': True})}.ccc",
    "an end that is infinite": f"aaa.{encoded({'exp': float('inf')})}.ccc",
}


@pytest.mark.parametrize("text", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_is_refused_without_being_quoted(text):
    with pytest.raises(ValueError, match=r"not three parts|no number") as caught:
        idtoken.expiry(text)
    assert caught.value.__cause__ is None
    with pytest.raises(UntrustedDocument, match="no token"):
        TokenLife.of(text)


def test_an_end_with_a_fraction_is_rounded_down():
    assert idtoken.expiry(f"aaa.{encoded({'exp': 1.9})}.ccc") == 1


def test_its_end_is_a_time_whatever_number_it_holds(now):
    assert TokenLife.of(make_token(now, HOUR)).expires_at == now + HOUR
    assert TokenLife.of(ENDLESS).expires_at is None
    for end in (-(10**30), 10**30):
        assert TokenLife(end).expires_at.year in {1970, 6325}


def test_a_glidein_that_the_token_outlives_by_the_margin_is_not_held_back(make_shape, now):
    shape = make_shape(walltime_s=3600)
    good = TokenLife.of(make_token(now, HOUR + timedelta(seconds=MARGIN_S)))
    assert good.gate(shape, now) is None
    gate = good.gate(shape, now + timedelta(seconds=1))
    assert gate is not None
    assert (gate.code, gate.most) == (SHORT, 0)


def test_the_message_has_both_times_and_what_to_do(make_shape, now):
    gate = TokenLife.of(make_token(now, HOUR)).gate(make_shape(walltime_s=7200), now)
    assert gate is not None
    assert f"{now + HOUR:%Y-%m-%d %H:%M}Z" in gate.detail
    assert f"{now + 2 * HOUR:%Y-%m-%d %H:%M}Z" in gate.detail
    assert "2h" in gate.detail
    assert gate.detail.endswith(HINT)
    assert len(gate.detail) < 300


def test_a_token_without_an_end_is_long_enough(make_shape, now):
    assert TokenLife.of(ENDLESS).gate(make_shape(walltime_s=10**9), now) is None


@pytest.mark.parametrize("end", [-(10**30), -1, 0, 10**30])
def test_no_number_in_a_token_breaks_the_message(make_shape, now, end):
    life = TokenLife.of(f"aaa.{encoded({'exp': end})}.ccc")
    gate = life.gate(make_shape(), now)
    assert (gate is None) == (end > 0)


def test_only_the_shapes_that_outlast_the_token_submit_nothing(
    run_cycle, make_config, make_shape, make_queue, publish, make_group, web, now
):
    config = make_config(make_shape("long", walltime_s=8 * 3600), make_shape("short", walltime_s=1800))
    queues = {"long": make_queue(("a",)), "short": make_queue(("b",))}
    publish(make_group(4), token=make_token(now, HOUR))
    done = run_cycle(config, queues=queues)
    assert (done.submitted, done.exit_code) == ({"long": 0, "short": 4}, 0)
    assert queues["long"].requests == []
    report = {shape.name: shape for shape in web.last_heartbeat().shapes}
    assert (report["long"].reason, report["short"].reason) == ("token-short", "satisfied")
    assert HINT in report["long"].detail
    assert reason(report["long"].reason) == "the pool token would end before a glidein does, so nothing is submitted"


def test_with_a_token_that_has_expired_nothing_is_submitted_and_with_the_next_one_it_goes_on(
    run_cycle, publish, make_group, queue, now
):
    publish(make_group(4), token=make_token(now, -HOUR))
    assert run_cycle().submitted == {"cpu": 0}
    publish(make_group(4), token=make_token(now))
    assert run_cycle(at=timedelta(minutes=1)).submitted == {"cpu": 4}
    assert len(queue.jobs_) == 4


def test_a_token_that_cannot_be_read_submits_nothing_and_does_not_replace_a_good_one(
    run_cycle, publish, make_group, queue, state, now, web
):
    good = make_token(now)
    publish(token=good)
    run_cycle()
    publish(make_group(4), token="a.b.c")
    done = run_cycle(at=timedelta(minutes=1))
    assert (done.exit_code, done.plans[0].reason, queue.requests) == (3, "demand-unknown", [])
    assert (state / "token").read_text(encoding="ascii") == f"{good}\n"
    assert "no token" in web.last_heartbeat().errors[0]
