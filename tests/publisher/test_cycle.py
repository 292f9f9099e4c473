from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from glidepost.publisher import cycle
from glidepost.publisher import publish as publishing
from glidepost.publisher.census import Answer, Problem, ScheddAnswer, Slot
from glidepost.schema import rotation
from glidepost.schema.demand import Demand, Rules
from glidepost.schema.document import encode
from glidepost.schema.errors import PoolError, StoreError, UntrustedDocument
from glidepost.schema.heartbeat import Counts, Heartbeat, Limits, ShapeReport
from glidepost.schema.keys import SigningKey
from glidepost.schema.publisher_config import SiteRules
from glidepost.schema.resources import Resources
from glidepost.schema.signing import sign, verify

DEMAND = "v1/demand.json"
LARGE = Resources(4, 8192, 10_000, 3600)


@pytest.fixture
def publish(config, store, make_pool, make_row, now):
    """Runs a cycle: publish(), publish(pool, at=timedelta(minutes=5), dry_run=True)."""

    def run(pool=None, *, at: timedelta = timedelta(0), dry_run: bool = False):
        return cycle.run(config, store, pool or make_pool(make_row(10)), now=now + at, dry_run=dry_run)

    return run


def stored(store) -> dict:
    return json.loads(store.get(DEMAND))


def heartbeat(site: str, resources: Resources, now: datetime) -> Heartbeat:
    advertised = {"GLIDEIN_Site": site.title()}
    limits = Limits(20, 20, 20, 20)
    shape = ShapeReport("cpu", "slurm", resources, limits, Counts(), 0, 0, "no-demand", "", advertised)
    return Heartbeat(site, "i", "0.1.0", 1, now, (shape,))


@pytest.fixture
def report(store, now):
    """Puts a heartbeat into the store: report("north", age=timedelta(hours=2))."""

    def put(site: str = "north", *, age: timedelta = timedelta(0), resources: Resources = LARGE) -> None:
        body = encode(heartbeat(site, resources, now - age).to_json())
        store.put(f"v1/heartbeats/{site}.json", body, content_type="application/json", cache_seconds=0)

    return put


def test_the_first_document_is_signed_numbered_and_dated(publish, store, pool_key, now):
    published = publish()
    data = stored(store)
    verify(data, [pool_key.public])
    assert published.written
    assert Demand.from_json(data) == published.demand
    assert (data["sequence"], data["pool"], data["complete"]) == (1, "demo", True)
    assert published.demand.expires_at - now == timedelta(minutes=30)
    assert published.demand.groups[0].sites == {"north": 10}


def test_caches_may_keep_the_demand_for_seconds_only(publish, aws):
    publish()
    head = aws.head_object(Bucket="glidepost", Key=DEMAND)
    assert (head["CacheControl"], head["ContentType"]) == ("max-age=15", "application/json")


def test_the_same_demand_is_not_written_again(publish, store):
    publish()
    before = store.get(DEMAND)
    again = publish(at=timedelta(minutes=14))
    assert not again.written
    assert again.demand.sequence == 1
    assert store.get(DEMAND) == before


def test_the_same_demand_is_written_again_at_half_of_its_life(publish, store, now):
    publish()
    assert publish(at=timedelta(minutes=15)).written
    assert stored(store)["sequence"] == 2
    assert Demand.from_json(stored(store)).generated_at == now + timedelta(minutes=15)


def test_a_changed_demand_is_written_at_once(publish, make_pool, make_row):
    publish()
    changed = publish(make_pool(make_row(11)), at=timedelta(seconds=1))
    assert (changed.written, changed.demand.sequence) == (True, 2)


def test_a_document_from_the_future_is_replaced(publish):
    publish(at=timedelta(days=1))
    assert publish().written


def test_a_new_signing_key_is_used_at_once(publish, store, config, now):
    publish()
    rotation.rotate(rotation.KeyFiles.of(config), now)
    assert publish(at=timedelta(seconds=1)).written
    verify(stored(store), [SigningKey.load(Path(config.demand.signing_key)).public])


def test_the_sequence_grows_after_the_store_was_restored_to_an_older_state(publish, store, make_pool, make_row):
    publish()
    old = store.get(DEMAND)
    publish(make_pool(make_row(11)))
    publish(make_pool(make_row(12)))
    store.put(DEMAND, old, content_type="application/json", cache_seconds=0)
    assert publish(make_pool(make_row(13))).demand.sequence == 4


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda file: file.write_bytes(b"\xff?"), lambda file: file.write_text("")]
)
def test_the_sequence_grows_after_our_own_memory_was_lost(publish, config, make_pool, make_row, damage):
    publish()
    publish(make_pool(make_row(11)))
    damage(Path(config.demand.state) / "publisher.sequence")
    assert publish(make_pool(make_row(12))).demand.sequence == 3


def test_the_sequence_grows_after_the_document_was_removed(publish, aws):
    publish()
    aws.delete_object(Bucket="glidepost", Key=DEMAND)
    assert publish().demand.sequence == 2


def test_a_dry_run_writes_nothing(store, config, make_tarball, make_pool, make_row, now):
    tarball = make_tarball()
    config = replace(config, glidein=replace(config.glidein, tarballs=(str(tarball),)))
    published = cycle.run(config, store, make_pool(make_row(3)), now=now, dry_run=True)
    assert store.list("") == []
    assert not Path(config.demand.state).exists()
    assert published.demand.groups[0].sites == {"north": 3}
    assert published.demand.glidein.tarballs[0].url.startswith("https://store.example.org/v1/glidein/")
    assert (published.written, published.mailboxes) == (False, ())


def test_when_no_schedd_answers_nothing_is_written(publish, store, make_pool):
    publish()
    before = store.get(DEMAND)
    with pytest.raises(PoolError, match=r"no schedd answered \(ap1: timed out"):
        publish(make_pool(error="timed out"))
    assert store.get(DEMAND) == before


def test_a_pool_without_schedds_is_no_pool_without_demand(publish, make_pool, store):
    pool = make_pool()
    pool.answer = Answer((), ())
    with pytest.raises(PoolError, match="no schedd answered"):
        publish(pool)
    assert store.list("") == []


def test_when_one_of_two_schedds_fails_the_document_says_so(publish, store, make_pool, make_row):
    publish(make_pool(make_row(4), others=(ScheddAnswer("ap2", (), "timed out"),)))
    data = stored(store)
    assert data["complete"] is False
    assert [schedd["error"] for schedd in data["schedds"]] == [None, "timed out"]


def test_an_empty_queue_is_published_as_empty(publish, store, make_pool):
    publish(make_pool())
    assert (stored(store)["groups"], stored(store)["complete"]) == ([], True)


def test_what_cannot_be_evaluated_is_published_beside_the_groups(publish, store, make_pool, make_row):
    publish(make_pool(make_row(4), make_row(2, memory_mib=None, problem=Problem("RequestMemory", "foo + 1"))))
    assert stored(store)["unevaluated"] == [
        {"idle_jobs": 2, "attribute": "RequestMemory", "problem": "foo + 1", "owner_count": 1}
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff\xfe", b'{"kind": "demand/2"}', b"[" * 20_000])
def test_something_else_under_the_demands_key_is_left_alone(publish, store, body):
    store.put(DEMAND, body, content_type="text/html", cache_seconds=0)
    with pytest.raises(StoreError, match=r"v1/demand.json in the store is not a demand document"):
        publish()
    assert store.get(DEMAND) == body


def test_a_site_offers_what_its_heartbeat_says(publish, report, make_pool, make_row):
    report(resources=Resources(1, 2048, 1000, 3600))
    groups = publish(make_pool(make_row(4), make_row(3, cpus=8))).demand.groups
    assert {group.request.cpus: group.sites for group in groups} == {1: {"north": 4}, 8: {}}


def test_a_site_gets_no_more_than_it_has_room_for(publish, report, make_pool, make_row):
    report(resources=Resources(2, 8192, 10_000, 3600))
    assert publish(make_pool(make_row(1000))).demand.groups[0].sites == {"north": 40}


def test_a_site_that_has_gone_silent_gets_nothing_and_the_log_says_why(publish, report, caplog):
    report(age=timedelta(hours=2))
    assert publish().demand.groups[0].sites == {}
    assert "no share for=north reason=its last heartbeat is 120 minutes old" in caplog.text


def test_requirements_decide_where_the_user_jobs_may_go(publish, report, make_pool, make_row):
    report()
    here, elsewhere = (f'[Requirements = TARGET.GLIDEIN_Site == "{site}"]' for site in ("North", "South"))
    demand = publish(make_pool(make_row(4, ad=here), make_row(3, ad=elsewhere))).demand
    assert {group.idle_jobs: (group.sites, group.shapes) for group in demand.groups} == {
        4: ({"north": 4}, {}),
        3: ({}, {"north": ()}),
    }


def test_the_rules_of_the_pool_decide_which_accounting_groups_run_where(
    config, store, report, make_pool, make_row, now
):
    report()
    config = replace(config, rules={"north": SiteRules(deny=("group_test",))})
    pool = make_pool(make_row(4, accounting_group="group_sim"), make_row(3, accounting_group="group_test"))
    groups = cycle.run(config, store, pool, now=now).demand.groups
    assert {group.accounting_group: group.sites for group in groups} == {"group_sim": {"north": 4}, "group_test": {}}


def test_the_rules_of_the_pool_know_the_owners_domain_and_are_published(
    config, store, report, make_pool, make_row, now
):
    report()
    config = replace(config, rules={"north": SiteRules(accept=("@example.org",)), "gone": SiteRules(deny=("x",))})
    pool = make_pool(make_row(4, domain="example.org"), make_row(3, domain="elsewhere.org"))
    demand = cycle.run(config, store, pool, now=now).demand
    assert {group.idle_jobs: group.sites for group in demand.groups} == {4: {"north": 4}, 3: {}}
    assert demand.rules == {"north": Rules(accept=("@example.org",))}
    assert "elsewhere" not in str(demand.to_json())


def test_what_free_slots_take_is_asked_of_no_site(publish, report, make_pool, make_row):
    report()
    ad = "[Requirements = TARGET.RequestCpus <= MY.Cpus; Cpus = 4]"
    free = Slot("north", "cpu", 4, 3, 0, 0, memory_free_mib=8192, disk_free_mib=10_000, ad=ad)
    demand = publish(make_pool(make_row(10), slots=[free])).demand
    assert (demand.groups[0].idle_jobs, demand.groups[0].sites) == (10, {"north": 7})


def test_a_heartbeat_that_cannot_be_believed_offers_nothing(publish, store, now):
    other = encode(heartbeat("south", Resources(1, 2048, 1000, 3600), now).to_json())
    for body in (b"<html>", b"x" * 70_000, other):
        store.put("v1/heartbeats/north.json", body, content_type="application/json", cache_seconds=0)
        assert publish(dry_run=True).demand.groups[0].sites == {}


def test_strangers_in_the_collector_do_not_stop_the_demand(publish, make_pool, make_row):
    slots = [Slot("NOT a site", "cpu", 8, 2, 0, 0), Slot("north", "cpu", 8, 2, 0, 0)]
    assert set(publish(make_pool(make_row(), slots=slots)).demand.pool_view) == {"north"}


def test_one_user_job_with_an_absurd_wish_does_not_stop_the_demand(publish, make_pool, make_row):
    demand = publish(make_pool(make_row(2), make_row(memory_mib=10**15), make_row(max_runtime_s=-5))).demand
    assert (demand.idle_jobs, sum(item.idle_jobs for item in demand.unevaluated)) == (2, 2)


def test_no_owner_and_no_requirements_are_published(publish, store, make_pool, make_row):
    publish(make_pool(make_row(owner="adalovelace", ad='[Requirements = Machine == "secret.example.org"]')))
    assert b"adalovelace" not in store.get(DEMAND)
    assert b"secret.example.org" not in store.get(DEMAND)


def test_the_document_comes_out_though_a_mailbox_fails(publish, make_pool, make_row, store):
    published = publish(make_pool(make_row(4), refused={"north"}))
    assert (published.written, len(published.failures), published.mailboxes) == (True, 1, ())
    assert stored(store)["sequence"] == 1


def test_the_prefix_stands_before_every_key_and_in_every_url(config, aws, make_pool, make_row, make_tarball, now):
    store = cycle.S3Store(aws, "glidepost", "pools/demo/")
    config = replace(
        config,
        store=replace(config.store, prefix="pools/demo/"),
        glidein=replace(config.glidein, tarballs=(str(make_tarball()),)),
    )
    demand = cycle.run(config, store, make_pool(make_row()), now=now).demand
    keys = [item["Key"] for item in aws.list_objects_v2(Bucket="glidepost")["Contents"]]
    assert len(keys) == 4
    assert all(key.startswith("pools/demo/v1/") for key in keys)
    assert demand.glidein.tarballs[0].url == f"https://store.example.org/{keys[1]}"


def test_a_document_of_another_version_is_not_shown_as_ours(store, pool_key):
    store.put(DEMAND, encode(sign({"kind": "demand/9"}, pool_key)), content_type="application/json", cache_seconds=0)
    with pytest.raises(UntrustedDocument):
        Demand.from_json(publishing.current(store))
