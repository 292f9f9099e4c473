from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.publisher import classads
from glidepost.schema import start


def welcomes(accounting_group, domain="", **rules) -> bool:
    """What a startd makes of the clauses."""
    job = classads.parse(f"[AcctGroup = {start.quoted(accounting_group)}]" if accounting_group else "[]")
    if domain:
        job["User"] = f"alice@{domain}"
    here = classads.parse("[Cpus = 1]")
    return all(classads.is_true(classads.expression(text).eval(here, job)) for text in start.clauses(gpus=0, **rules))


@pytest.mark.parametrize(
    ("group", "accept", "deny", "welcome"),
    [
        (None, (), (), True),
        (None, ("sim",), (), False),
        (None, (), ("sim",), True),
        ("sim", ("sim",), (), True),
        ("SIM.Prod", ("sim",), (), True),
        ("simulation", ("sim",), (), False),
        ("sim", (), ("sim",), False),
        ("sim.prod", ("sim",), ("sim.prod",), False),
        ("sim.test", ("sim",), ("sim.prod",), True),
        ("ana", ("sim", "ana"), (), True),
    ],
)
def test_an_accounting_group_stands_for_those_below_it(group, accept, deny, welcome):
    assert welcomes(group, accept=accept, deny=deny) == welcome
    assert (start.refusal(group, accept=accept, deny=deny) is None) == welcome


@pytest.mark.parametrize(
    ("domain", "accept", "deny", "welcome"),
    [
        ("icecube.wisc.edu", ("@icecube.wisc.edu",), (), True),
        ("ICECUBE.wisc.edu", ("@icecube.wisc.edu",), (), True),
        ("wisc.edu", ("@icecube.wisc.edu",), (), False),
        ("not-icecube.wisc.edu", ("@icecube.wisc.edu",), (), False),
        ("", ("@icecube.wisc.edu",), (), False),
        ("icecube.wisc.edu", (), ("@icecube.wisc.edu",), False),
        ("icecube.wisc.edu", ("@icecube.wisc.edu",), ("sim",), False),
        ("elsewhere.org", ("@icecube.wisc.edu", "sim"), (), True),
    ],
)
def test_an_entry_with_an_at_sign_is_the_owners_domain(domain, accept, deny, welcome):
    assert welcomes("sim", domain, accept=accept, deny=deny) == welcome
    assert (start.refusal("sim", domain=domain, accept=accept, deny=deny) is None) == welcome


names = st.text(alphabet="aAbB._-", min_size=1, max_size=5)
entries = st.lists(names | names.map("@{}".format), max_size=3)


@given(st.none() | names, st.just("") | names, entries, entries)
def test_words_and_clauses_agree(group, domain, accept, deny):
    words = start.refusal(group, domain=domain, accept=accept, deny=deny)
    assert welcomes(group, domain, accept=accept, deny=deny) == (words is None)


@given(st.text(alphabet='a"\\&()', min_size=1, max_size=12))
def test_a_name_stays_a_string_whatever_it_holds(name):
    assert classads.expression(start.quoted(name)).eval() == name


def test_gpus_are_kept_for_those_that_ask_for_them():
    assert start.clauses(gpus=0) == ()
    (clause,) = start.clauses(gpus=2)
    asked = (classads.parse(text) for text in ("[]", "[RequestGPUs = 0]", "[RequestGPUs = 1]"))
    here = classads.parse("[GPUs = 2]")
    assert [classads.expression(clause).eval(here, job) for job in asked] == [False, False, True]


def test_backfill_lets_user_jobs_in_that_leave_a_core_to_each_free_gpu():
    (clause,) = start.clauses(gpus=2, backfill=True)
    asked = [classads.parse(f"[RequestCpus = {cpus}]") for cpus in (1, 2, 3)]

    def fit(ad):
        return [classads.expression(clause).eval(classads.parse(ad), job) for job in asked]

    assert fit("[GPUs = 2; Cpus = 4]") == [True, True, False]
    assert fit("[GPUs = 0; Cpus = 2]") == [True, True, False], "the GPUs are all taken"
    assert fit("[Cpus = 1]") == [True, False, False], "the part of a glidein that one got"
    assert classads.expression(clause).eval(classads.parse("[GPUs = 2; Cpus = 1]"), classads.parse("[RequestGPUs = 1]"))
