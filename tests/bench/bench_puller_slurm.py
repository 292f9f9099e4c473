"""The puller against a real Slurm: one query and one array, against pyglidein's pipes and one sbatch for each glidein.

Wall time, the best of several runs.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glidepost.backends.base import GlideinRequest
from glidepost.backends.slurm import SlurmBackend
from glidepost.infra.demo.testbed import Account, Slurm, end_daemons, get_slurm, workfolder
from glidepost.schema.resources import Request
from glidepost.site_puller.ledger import name_prefix
from glidepost.site_puller.script import render

FAKES = Path(__file__).parents[1] / "fakes" / "bin"
GLIDEINS = 1_000
SOME = 50


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    account = Account.current()
    work = workfolder(account)
    folder = account.make_folder(work / "bench-puller")
    end_daemons(folder)
    cluster = Slurm(account, get_slurm(work), folder / "slurm")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.mark.timeout(600)
def test_counting_against_pipes_for_each_kind(site, kinds, slurm, timed, write):
    """pyglidein's way: `squeue ... -t PENDING | grep KIND | wc -l`, the same for RUNNING, for each kind of glidein."""
    backend = SlurmBackend({})
    script, total = "#!/bin/sh\nexit 0\n", GLIDEINS * len(kinds)
    config = site.configure(kinds)
    for shape in config.shapes:
        resources = replace(shape.resources, cpus=1, memory_mib=10, gpus=0, walltime_s=3600)
        request = GlideinRequest(f"{name_prefix(config.site, shape.name)}00001", resources, GLIDEINS, script)
        command = backend.submission(request)
        slurm.run([*command.argv, "--hold"], stdin=command.stdin)

    def ours() -> None:
        listed = tuple(backend.parse_query(slurm.run(backend.query().argv)))
        assert len(listed) == total

    def pipes() -> None:
        for shape in config.shapes:
            kind = name_prefix(config.site, shape.name)[:8]
            for state, count in (("PENDING", GLIDEINS), ("RUNNING", 0)):
                listed = f"squeue -u $(id -un) -t {state} -h -r -p main -o '%i %j' | grep {kind} | wc -l"
                assert int(slurm.run(["sh", "-c", listed])) == count

    one, many = timed(ours, 5), timed(pipes, 5)
    write(f"\n{total:,} batch jobs in a real Slurm, {len(kinds)} shapes, wall time, best of 5")
    write(f"  one squeue, parsed            {one.wall_s:6.2f} s     1 query")
    ratio = many.wall_s / one.wall_s
    write(f"  pyglidein's: a pipe for each  {many.wall_s:6.2f} s    {2 * len(kinds)} queries  x {ratio:.1f}")


@pytest.mark.timeout(900)
def test_submitting_a_thousand_glideins(site, kinds, slurm, demand_of, timed, write):
    """Ours, one array, against one sbatch for each glidein; on the real Slurm both submit the glidein's real script."""
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        site.command(name, f'exec "{sys.executable}" -I -S "{FAKES / name}" "$@"')
    config = site.configure(kinds[:1], GLIDEINS)
    shape, demand = config.shapes[0], demand_of(1)
    (group,) = demand.groups
    wanted = replace(group, sites={config.site: GLIDEINS}, request=Request(1, 1000, 1000, 0), max_runtime_s=None)
    demand = replace(demand, groups=(replace(wanted, idle_jobs=GLIDEINS),))
    site.store.publish(demand)
    whole = site.run()
    queue = json.loads((site.folder / "queue.json").read_text())
    assert len(queue["jobs"]) == GLIDEINS
    asked = [call[0] for call in queue["calls"]]
    assert sorted(asked) == ["sbatch", "squeue"]

    (site.folder / "queue.json").unlink()
    (site.folder / "script").write_text("#!/bin/sh\nexit 0\n")
    single = [
        str(site.folder / "bin" / "sbatch"),
        "--parsable",
        "--job-name=gp-00000-00000",
        str(site.folder / "script"),
    ]
    fakes_s = sum(site.cost(single).wall_s for _ in range(SOME)) * GLIDEINS / SOME

    backend = SlurmBackend({})
    resources = replace(shape.resources, memory_mib=10, walltime_s=3600)
    script = render(config, shape, demand, name="gp-00000-00000")

    def submissions(count: int, times: int) -> Callable[[], None]:
        command = backend.submission(GlideinRequest("gp-00000-00000", resources, count, script))
        argv = [*command.argv, "--hold", "--output=/dev/null"]

        def submit() -> None:
            for _ in range(times):
                backend.parse_submission(slurm.run(argv, stdin=command.stdin))

        return submit

    array, singles = timed(submissions(GLIDEINS, 1), 3), timed(submissions(1, GLIDEINS), 1)
    ratio = singles.wall_s / array.wall_s
    write(
        f"\n{GLIDEINS:,} glideins submitted, wall time; all commands that `puller run` gave: {', '.join(sorted(asked))}"
    )
    write(f"  whole `puller run`, a fake sbatch  {whole.wall_s:7.2f} s  1 sbatch")
    write(f"  fake sbatch, one for each          {fakes_s:7.2f} s  {GLIDEINS} sbatch, by {SOME} of them")
    write(f"  real Slurm, one array              {array.wall_s:7.2f} s  1 sbatch")
    write(f"  real Slurm, one for each           {singles.wall_s:7.2f} s  {GLIDEINS} sbatch  x {ratio:.0f}")
