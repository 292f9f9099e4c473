from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from glidepost.publisher import publish
from glidepost.publisher.store import COMPRESS_ABOVE
from glidepost.schema.demand import Demand, GlideinRelease, Metrics, Other, ShapeView, Unevaluated
from glidepost.schema.document import MAX_DOCUMENT_BYTES, encode
from glidepost.schema.errors import ConfigError, StoreError, UntrustedDocument
from glidepost.schema.keys import SigningKey
from glidepost.schema.signing import sign
from glidepost.schema.store_keys import DEMAND_KEY

KEY = SigningKey.generate()


@pytest.fixture
def many(make_demand_anywhere, group_anywhere):
    """Makes a demand of so many groups, of 1, 2, 3... idle user jobs."""

    def make(count: int, **changes) -> Demand:
        groups = tuple(replace(group_anywhere, id=f"g{n:08x}", idle_jobs=n + 1) for n in range(count))
        return replace(make_demand_anywhere(groups, ()), **changes)

    return make


def size(demand: Demand) -> int:
    return len(encode(sign(demand.to_json(), KEY)))


# What fits into the document


def test_what_fits_is_left_as_it_is(many):
    demand = many(20)
    assert publish.fit_into(demand, 1024 * 1024) is demand


def test_the_smallest_groups_are_counted_together_and_the_largest_stay(many):
    demand = publish.fit_into(many(1000), 100_000)
    assert size(demand) <= 100_000
    assert len(demand.groups) > 100
    assert demand.groups[-1].idle_jobs == 1000
    assert demand.other == Other(1000 - len(demand.groups), sum(range(1, 1001 - len(demand.groups))))


def test_as_many_groups_stay_as_there_is_room_for(many):
    whole = many(500)
    demand = publish.fit_into(whole, 100_000)
    assert size(demand) > 100_000 - 2 * publish._item_size(whole.groups[-1]) - publish.SIGNATURE_BYTES


def test_what_is_said_of_all_groups_counts_those_that_were_left_out_before(many):
    demand = publish.fit_into(many(1000, other=Other(7, 700)), 100_000)
    assert demand.other.groups == 7 + 1000 - len(demand.groups)
    assert demand.other.idle_jobs == 700 + sum(range(1, 1001 - len(demand.groups)))


def test_expressions_without_a_value_leave_room_for_groups(many):
    problems = tuple(Unevaluated(n, "RequestMemory", f"{n} " + "x" * 400, 2) for n in range(1, 501))
    demand = publish.fit_into(many(1000, unevaluated=problems), 200_000)
    assert size(demand) <= 200_000
    assert len(demand.groups) > 300
    assert sum(item.idle_jobs for item in demand.unevaluated) == sum(range(1, 501))
    assert demand.unevaluated[0].idle_jobs == 500
    assert demand.unevaluated[-1].attribute == "(others)"


def test_a_document_that_is_too_large_without_any_group_is_an_error_that_says_so(many):
    view = {f"s{n}": {"cpu": ShapeView(1, 1, 1, 0, 0)} for n in range(1000)}
    with pytest.raises(ConfigError, match="max_size") as caught:
        publish.fit_into(many(3, pool_view=view), 10_000)
    assert "pool_view" in caught.value.hint


def test_a_document_that_sites_would_refuse_is_not_allowed(many):
    with pytest.raises(ConfigError, match="max_size"):
        publish.fit_into(many(1), MAX_DOCUMENT_BYTES + 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(st.integers(0, 10**6), max_size=60),
    problems=st.lists(st.tuples(st.integers(0, 10**6), st.text(max_size=500)), max_size=30),
    before=st.none() | st.builds(Other, st.integers(0, 1000), st.integers(0, 10**6)),
    max_bytes=st.integers(4000, 60_000),
)
def test_no_user_job_is_lost_and_the_size_holds(
    make_demand_anywhere, group_anywhere, jobs, problems, before, max_bytes
):
    groups = tuple(
        replace(group_anywhere, id=f"g{n:08x}", idle_jobs=count, accounting_group="ü€" * (n % 90))
        for n, count in enumerate(jobs)
    )
    unevaluated = tuple(Unevaluated(count, "RequestMemory", text) for count, text in problems)
    whole = replace(make_demand_anywhere(groups, unevaluated), other=before)
    demand = publish.fit_into(whole, max_bytes)

    def counted(some: Demand) -> tuple[int, int, int]:
        other = some.other or Other(0, 0)
        return (
            some.idle_jobs + other.idle_jobs,
            len(some.groups) + other.groups,
            sum(item.idle_jobs for item in some.unevaluated),
        )

    assert counted(demand) == counted(whole)
    assert publish._size(demand) <= max_bytes
    left = {group.id for group in whole.groups} - {group.id for group in demand.groups}
    smallest = min((group.idle_jobs for group in demand.groups), default=0)
    assert not demand.groups or all(group.idle_jobs <= smallest for group in whole.groups if group.id in left)
    assert publish.fit_into(demand, max_bytes) == demand


# When it is written


@pytest.fixture
def before(many, now):
    return many(3, sequence=7, generated_at=now, expires_at=now + timedelta(minutes=30))


def is_due(demand: Demand, before: Demand, now, *, is_ours: bool = True) -> bool:
    return publish.is_due(replace(demand, sequence=8), before, is_ours=is_ours, now=now)


def test_the_same_is_due_at_half_of_its_life(before, now):
    assert not is_due(before, before, now + timedelta(minutes=15) - timedelta(seconds=1))
    assert is_due(before, before, now + timedelta(minutes=15))


@pytest.mark.parametrize(
    "news",
    [
        {"complete": False},
        {"groups": ()},
        {"other": Other(1, 1)},
        {"pool_view": {"north": {"cpu": ShapeView(1, 1, 0, 0, 0)}}},
        {"collectors": ("other.example.org:9618",)},
        {"glidein": GlideinRelease("canary", ())},
    ],
)
def test_what_says_something_else_is_due_at_once(before, now, news):
    assert is_due(replace(before, **news), before, now)


def test_metrics_alone_are_no_news(before, now):
    assert not is_due(replace(before, metrics=Metrics(running_inside=3)), before, now)


def test_what_sites_refuse_is_replaced_at_once(before, now):
    assert is_due(before, before, now, is_ours=False)
    assert is_due(before, replace(before, sequence=6), now)
    assert is_due(before, before, now - timedelta(seconds=1))


# Numbers


def test_the_number_is_the_highest_that_anybody_remembers(tmp_path, before):
    file = tmp_path / "sequence"
    assert publish.last_sequence(file, None, is_ours=False) == 0
    assert publish.last_sequence(file, before, is_ours=True) == 7
    assert publish.last_sequence(file, before, is_ours=True, seen=[7, 3]) == 7
    assert publish.last_sequence(file, before, is_ours=True, seen=[9, 3]) == 9 + publish.REPORT_LAG
    file.write_text("11\n")
    assert publish.last_sequence(file, before, is_ours=True, seen=[9]) == 11
    assert publish.last_sequence(file, before, is_ours=False, seen=[]) == 11


@pytest.mark.parametrize("text", ["", "x", "-3", "9007199254740991", "99999999999999999999", "\udcff", "١٢"])
def test_a_damaged_memory_is_no_number(tmp_path, before, text):
    file = tmp_path / "sequence"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert publish.last_sequence(file, before, is_ours=True) == 7


def test_a_liar_cannot_use_the_numbers_up(tmp_path, before):
    file = tmp_path / "sequence"
    forged = replace(before, sequence=publish.MAX_SEQUENCE)
    assert publish.last_sequence(file, forged, is_ours=False, seen=[publish.MAX_SEQUENCE, 2**52]) == 0
    assert publish.last_sequence(file, before, is_ours=True, seen=[8 + publish.MAX_LEAP]) == 7
    assert publish.last_sequence(file, before, is_ours=True, seen=[7 + publish.MAX_LEAP]) < 2 * publish.MAX_LEAP


class Shelf:
    """A store for one document, of which it keeps every version; one that `is_down` takes nothing."""

    def __init__(self) -> None:
        self.versions: list[bytes] = []
        self.body: bytes | None = None
        self.is_down = False

    def get(self, _key):
        return self.body

    def put(self, _key, body, **_):
        if self.is_down:
            raise StoreError("503", hint="in this test")
        self.body = body
        self.versions.append(body)


class Publisher(RuleBasedStateMachine):
    """Whatever is lost, restored or interrupted, as long as one memory of three is whole, numbers only grow."""

    folder: Path
    first: Demand

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.file = self.folder / f"sequence-{id(self)}"
        self.file.unlink(missing_ok=True)
        self.highest = 0
        self.files: list[bytes] = []

    def run(self, seen=()) -> None:
        stored = publish.current(self.shelf)
        previous, is_ours = publish.read(stored), publish.is_signed(stored, KEY)
        last = publish.last_sequence(self.file, previous, is_ours=is_ours, seen=seen)
        demand = replace(self.first, sequence=last + 1)
        publish.remember(self.file, last)
        if publish.is_due(demand, previous, is_ours=is_ours, now=demand.generated_at):
            publish.write(self.shelf, demand, KEY, self.file)
        self.files.append(self.file.read_bytes() if self.file.exists() else b"")
        published = Demand.from_json(publish.current(self.shelf)).sequence
        assert published >= self.highest, "sites refuse it"
        self.highest = published

    @rule()
    def runs(self) -> None:
        self.run()

    @rule()
    def dies_while_it_writes(self) -> None:
        self.shelf.is_down = True
        try:
            self.run()
        except (StoreError, UntrustedDocument, TypeError):
            pass
        finally:
            self.shelf.is_down = False

    @rule(data=st.data())
    def the_store_is_restored(self, data) -> None:
        self.run()
        self.shelf.body = data.draw(st.sampled_from([None, *self.shelf.versions]))
        self.run()

    @rule(data=st.data())
    def the_machine_is_restored(self, data) -> None:
        self.run()
        self.file.write_bytes(data.draw(st.sampled_from([b"", b"?", *self.files])))
        self.run()

    @rule(data=st.data())
    def both_are_restored_and_a_site_remembers(self, data) -> None:
        self.run()
        self.shelf.body = data.draw(st.sampled_from([None, *self.shelf.versions]))
        self.file.write_bytes(data.draw(st.sampled_from([b"", *self.files])))
        self.run(seen=[self.highest, 2**53 - 1, 0])

    @rule()
    def somebody_writes_another_document(self) -> None:
        self.run()
        other = replace(self.first, sequence=2**53 - 1)
        self.shelf.body = encode(sign(other.to_json(), SigningKey.generate()))
        self.run()


def test_numbers_only_grow_whatever_is_lost_or_restored(tmp_path, many, now):
    Publisher.folder = tmp_path
    Publisher.first = many(1, generated_at=now, expires_at=now + timedelta(minutes=30))
    machine = Publisher.TestCase()
    machine.settings = settings(max_examples=25, stateful_step_count=8, deadline=None)
    machine.runTest()


# What is written


def test_a_small_document_is_readable_as_it_is(store, aws, many, tmp_path):
    publish.write(store, many(3), KEY, tmp_path / "sequence")
    found = aws.get_object(Bucket="glidepost", Key=DEMAND_KEY)
    assert "ContentEncoding" not in found
    assert json.loads(found["Body"].read())["sequence"] == 1


def test_a_large_document_is_compressed_and_reads_the_same(store, aws, many, tmp_path):
    demand = many(1000)
    publish.write(store, demand, KEY, tmp_path / "sequence")
    found = aws.get_object(Bucket="glidepost", Key=DEMAND_KEY)
    body = found["Body"].read()
    assert (found["ContentEncoding"], found["ContentType"]) == ("gzip", "application/json")
    assert found["CacheControl"] == "max-age=15"
    assert len(body) < size(demand) / 10
    assert size(demand) > COMPRESS_ABOVE
    assert Demand.from_json(json.loads(gzip.decompress(body))) == demand
    assert publish.read(publish.current(store)) == demand


def test_the_number_is_spent_though_the_store_refuses(many, tmp_path):
    shelf = Shelf()
    shelf.is_down = True
    with pytest.raises(StoreError):
        publish.write(shelf, many(3, sequence=5), KEY, tmp_path / "sequence")
    assert publish.last_sequence(tmp_path / "sequence", None, is_ours=False) == 5
