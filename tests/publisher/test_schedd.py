"""What one user job or one startd may say, as ads without daemons. The queries themselves run in tests/real."""

from __future__ import annotations

import json

import classad2
import htcondor2
import msgspec
import pytest

from glidepost.publisher import schedd
from glidepost.publisher.census import Row, Slot


@pytest.fixture
def make_ad():
    """Makes an idle group as a schedd gives it, with these expressions."""

    def make(**expressions: str) -> classad2.ClassAd:
        ad = classad2.ClassAd({"JobCount": 3, "QDate": 1_000_000_000, "Owner": "ada", "RequestCpus": 1})
        for name, value in {
            "RequestMemory": "2000",
            "RequestDisk": "100",
            "Requirements": "true",
            **expressions,
        }.items():
            ad[name] = classad2.ExprTree(value)
        return ad

    return make


def row_of(ad: classad2.ClassAd) -> Row:
    """As the publisher reads it: through JSON."""
    return msgspec.json.decode(json.dumps(schedd._row(ad)), type=Row)


def test_a_row_has_numbers(make_ad):
    row = row_of(make_ad(RequestGPUs="1", AcctGroup='"group_sim"', AllowedJobDuration="3600"))
    assert (row.idle_jobs, row.cpus, row.memory_mib, row.disk_kib, row.gpus) == (3, 1, 2000, 100, 1)
    assert (row.accounting_group, row.max_runtime_s, row.problem) == ("group_sim", 3600, None)


def test_expressions_are_evaluated_in_their_ad(make_ad):
    row = row_of(make_ad(RequestMemory="ifThenElse(RequestCpus > 0, 3 * 1000, 1)", RequestDisk="1.5 * 1000 + 0.2"))
    assert (row.memory_mib, row.disk_kib) == (3000, 1501)


@pytest.mark.parametrize(
    "expression",
    ["foo + 1", "undefined", "error", "true", '"2GB"', "{1}", 'real("INF")', 'real("-INF")', 'real("NaN")'],
)
def test_an_expression_without_a_number_is_a_problem_of_its_row_only(make_ad, expression):
    row = row_of(make_ad(RequestMemory=expression))
    assert row.memory_mib is None
    assert row.problem.attribute == "RequestMemory"


@pytest.mark.parametrize("expression", ["1e300", "-1e300", "9223372036854775807"])
def test_a_huge_number_can_be_read_by_the_publisher(make_ad, expression):
    assert abs(row_of(make_ad(RequestMemory=expression)).memory_mib) >= 2**53


@pytest.mark.parametrize("expression", ["undefined", "error", "foo", "7", "{1}", "[a=1]"])
def test_an_accounting_group_that_is_no_text_is_none(make_ad, expression):
    assert row_of(make_ad(AcctGroup=expression)).accounting_group is None


def test_bytes_that_are_not_utf8_do_not_stop_the_census(make_ad):
    row = row_of(make_ad(AcctGroup=r'"x\377"', Requirements=r'"\377"', RequestMemory=r'"\355\240\200"'))
    assert (row.accounting_group, row.requirements) == (None, r'"\377" // None')
    assert row.problem.expression == r'"\355\240\200"'


@pytest.fixture
def slots_of():
    """Returns the slots that a collector with these ads has."""

    class Collector:
        def __init__(self, ads) -> None:
            self._ads = ads

        def query(self, ad_type, constraint, projection):
            assert ad_type == htcondor2.AdType.Startd
            assert "GLIDEPOST_Site" in constraint
            assert "SlotType" in projection
            return self._ads

    def read(*texts: str) -> tuple[Slot, ...]:
        found = schedd._slots(Collector([classad2.ClassAd(text) for text in texts]))
        return msgspec.json.decode(json.dumps(found), type=tuple[Slot, ...])

    return read


def test_a_partitionable_slot_is_a_glidein(slots_of):
    text = '[GLIDEPOST_Site="north"; GLIDEPOST_Shape="cpu"; SlotType="Partitionable"; TotalSlotCpus=8; Cpus=3]'
    assert slots_of(text) == (Slot("north", "cpu", 8, 3, 0, 0),)


def test_dynamic_slots_are_parts_of_a_glidein(slots_of):
    assert slots_of('[GLIDEPOST_Site="north"; SlotType="Dynamic"; TotalSlotCpus=8; Cpus=1]') == ()


def test_a_startd_that_advertises_nonsense_does_not_stop_the_census(slots_of):
    nonsense = '[GLIDEPOST_Site=foo+1; GLIDEPOST_Shape=7; TotalSlotCpus="many"; Cpus=real("INF"); GPUs=error]'
    good = '[GLIDEPOST_Site="north"; GLIDEPOST_Shape="cpu"; TotalSlotCpus=8; Cpus=3]'
    assert slots_of(nonsense, good) == (Slot("", "", 0, 0, 0, 0), Slot("north", "cpu", 8, 3, 0, 0))
