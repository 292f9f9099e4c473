"""What a cycle of the puller costs: idle, with many groups, and with 5,000 batch jobs in the queue.

CPU time is that of a process and its children, user and system. The times are the best of several runs, as the machine
may be busy; a ratio is the median of those of runs one after the other, which a busy machine slows alike. The targets
are printed beside what was measured, and nothing fails when one is not met.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from datetime import datetime, timedelta, timezone

import pytest

from glidepost.backends.slurm import SlurmBackend
from glidepost.schema.demand import Demand
from glidepost.schema.document import encode
from glidepost.schema.puller_config import PullerConfig
from glidepost.schema.store_keys import DEMAND_KEY
from glidepost.site_puller.fetch import _verified
from glidepost.site_puller.holding import Holding, holding
from glidepost.site_puller.ledger import Ledger, LedgerFile, name_prefix
from glidepost.site_puller.observe import implausible, observe
from glidepost.site_puller.plan import Situation, plan
from glidepost.site_puller.source import Fetched, FolderSource

NOW = datetime.now(timezone.utc).replace(microsecond=0)
ROUNDS = 11
BATCH_JOBS = 5_000
GROUPS = 500
NEVER_AT_A_SITE = ("boto3", "botocore", "htcondor2", "classad2")

IMPORTS = "import sys, click, requests"
LISTS_MODULES = """
import sys
from glidepost.schema.command import main
try:
    main()
finally:
    print("modules:", *sys.modules)
"""


def verdict(value: float, target: float) -> str:
    return f"target < {target:g} s: {'met' if value < target else 'NOT MET'}"


def listing(config: PullerConfig) -> str:
    """Returns what squeue prints of arrays of fifty members, as many for each shape; of five members three run."""
    each, lines = BATCH_JOBS // len(config.shapes) // 50, []
    for number, shape in enumerate(config.shapes):
        for array in range(each):
            name = f"{name_prefix(config.site, shape.name)}{array:05d}"
            identity = 100_000 + number * each + array
            lines += [
                f"{identity}_{member}@{'R@None' if member % 5 < 3 else 'PD@Priority'}@{name}@" for member in range(50)
            ]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.timeout(600)
def test_a_whole_run(site, kinds, demand_of, write):
    """A cycle that asks for two documents and a queue, in which there is nothing to do."""
    config = site.configure(kinds, BATCH_JOBS // len(kinds))
    text = listing(config)
    squeue = "[ ! -e listing ] || cat listing"
    site.command("squeue", f"cd {site.folder}; {squeue}")
    site.command("sbatch", "exit 9")
    rare, many, wanting = demand_of(0), demand_of(GROUPS), demand_of(GROUPS, share=20)
    size_kb = len(encode(many.to_json())) / 1000
    ways: dict[str, tuple[Demand, bool, bool]] = {
        "304 twice, no groups": (rare, False, False),
        f"304 twice, {GROUPS} groups": (many, False, False),
        f"200 for {GROUPS} groups ({size_kb:.0f} kB)": (many, True, False),
        f"200, {GROUPS} groups wanted, {BATCH_JOBS:,} queued": (wanting, True, True),
    }
    floors, costs = {way: [] for way in ways}, {way: [] for way in ways}
    for way, (demand, is_new, is_full) in ways.items():
        shutil.rmtree(site.folder / "state", ignore_errors=True)
        (site.folder / "listing").write_text(text if is_full else "")
        site.store.publish(demand)
        site.run()  # the first cycle fetches, and reports
        for _ in range(ROUNDS):
            if is_new:
                site.store.publish(demand)
            floors[way].append(site.cost([sys.executable, "-c", IMPORTS]))
            site.store.statuses.clear()
            costs[way].append(site.run())
            assert site.store.statuses == [200 if is_new else 304, 304]
    site.cost([sys.executable, "-c", LISTS_MODULES, "puller", "run"])
    modules = site.output().split("modules:")[1].split()
    assert not set(NEVER_AT_A_SITE) & set(modules)

    least = min(cost.cpu_s for found in floors.values() for cost in found)
    write(f"\n`glidepost puller run`, {len(kinds)} shapes, best of {ROUNDS}")
    write(f"  {'':46} {'cpu s':>6} {'x':>5} {'wall s':>7}")
    write(f"  {f'python -c {IMPORTS!r}':46} {least:6.2f} {1:5.1f}")
    for way, found in costs.items():
        cpu_s, wall_s = min(cost.cpu_s for cost in found), min(cost.wall_s for cost in found)
        ratio = statistics.median(cost.cpu_s / other.cpu_s for cost, other in zip(found, floors[way]))
        target = verdict(cpu_s, 0.5 if "304 twice" in way else 1)
        write(f"  {way:46} {cpu_s:6.2f} {ratio:5.1f} {wall_s:7.2f}  {target}")
    write(f"  modules loaded: {len(modules)}, none of {', '.join(NEVER_AT_A_SITE)}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [4, 5], ids=["fixed shapes", "one with fit"])
def test_the_parts_of_a_large_cycle(site, kinds, count, demand_of, timed, write):
    config = site.configure(kinds[:count], 2 * BATCH_JOBS)
    text, demand = listing(config), demand_of(GROUPS, share=20)
    backend, file = SlurmBackend({}), LedgerFile(site.folder / "ledger.json")
    site.store.publish(demand)
    fetched = Fetched(site.store.objects["/v1/demand.json"])
    folder = FolderSource(site.folder, site.folder)
    jobs = tuple(backend.parse_query(text))
    answers = {shape.name: jobs for shape in config.shapes}
    ledger = observe(Ledger().ticked(NOW), answers, {}, config.shapes, config.site).ledger
    file.save(ledger)
    tomorrow = ledger.ticked(NOW + timedelta(minutes=5))
    assert sum(entry.live for entry in ledger.entries.values()) == len(jobs)

    def held() -> dict[str, Holding]:
        assert not implausible(ledger, [shape.name for shape in config.shapes])
        return {shape.name: holding(shape, ledger, demand_at=NOW) for shape in config.shapes}

    situation = Situation(demand, config.site, config.shapes, held(), {})
    assert sum(line.submit for line in plan(situation))
    parts = {
        "demand: parse, signature": lambda: _verified(config, folder, DEMAND_KEY, fetched),
        "demand: schema, dataclass": lambda: Demand.from_json(json.loads(fetched.body)),
        "squeue's answer parsed": lambda: tuple(backend.parse_query(text)),
        "ledger read": lambda: file.load(was_here=True),
        "ledger observed": lambda: observe(tomorrow, answers, {}, config.shapes, config.site),
        "holdings counted": held,
        "plan": lambda: plan(situation),
        "ledger written, fsync": lambda: file.save(ledger),
    }
    costs = {part: timed(function, ROUNDS) for part, function in parts.items()}
    cpu_s, wall_s = sum(cost.cpu_s for cost in costs.values()), sum(cost.wall_s for cost in costs.values())
    write(
        f"\n{len(jobs):,} batch jobs in {len(ledger.entries)} submissions, {GROUPS} groups, {count} shapes,"
        f" best of {ROUNDS}"
    )
    for part, cost in costs.items():
        times = f"{cost.cpu_s * 1e3:7.1f} ms cpu {cost.wall_s * 1e3:7.1f} ms wall"
        write(f"  {part:26} {times} {cost.cpu_s / cpu_s:5.0%}")
    write(f"  {'together':26} {cpu_s * 1e3:7.1f} ms cpu {wall_s * 1e3:7.1f} ms wall  {verdict(wall_s, 1)}")
    write(f"  the ledger has {file.path.stat().st_size / 1e6:.1f} MB")
