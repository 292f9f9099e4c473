"""`glidepost puller run` with every hostile case (tests/support/hostile_cases.py): the exit code, and nothing done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from hostile_cases import Case, cases
from hostile_stage import DEMAND, POOL, ROOT, SITE, Stage, good

from glidepost.schema.command import main

CASES = cases()
CONFIG = f"""
[site]
name = "north"
key = "site.key"
state = "state"

[pool]
name = "demo"
url = "URL"
public_key = "{POOL.public}"
root_key = "{ROOT.public}"
timeout = "5s"

[shapes.cpu]
backend = "slurm"
cpus = 1
memory = "2GiB"
disk = "2GiB"
walltime = "1h"
max_total = 9
"""
SBATCH = "#!/bin/sh\ncat >/dev/null; echo x >>FOLDER/submitted; echo 17\n"
SQUEUE = "#!/bin/sh\ncat FOLDER/queue 2>/dev/null; exit 0\n"


@dataclass
class Site:
    """A site in a folder of its own, with the commands of a batch system beside it."""

    folder: Path

    def make(self) -> None:
        SITE.save(self.folder / "site.key")
        (self.folder / "bin").mkdir()
        for name, script in (("sbatch", SBATCH), ("squeue", SQUEUE)):
            (self.folder / "bin" / name).write_text(script.replace("FOLDER", str(self.folder)), encoding="utf-8")
            (self.folder / "bin" / name).chmod(0o755)

    def offer(self, stage: Stage, url: str = "") -> None:
        """Lays out the store as a folder, unless it has a URL, and what the site has in its state folder."""
        store = self.folder / "store"
        for key, body in stage.objects.items():
            (store / key).parent.mkdir(parents=True, exist_ok=True)
            (store / key).write_bytes(body)
        for name, body in stage.state.items():
            (self.folder / "state" / name).write_bytes(body)
        (self.folder / "puller.toml").write_text(CONFIG.replace("URL", url or f"file://{store}"), encoding="utf-8")

    @property
    def batch_jobs(self) -> list[str]:
        """Those that the ledger holds."""
        return sorted(json.loads((self.folder / "state" / "ledger.json").read_bytes())["entries"])

    @property
    def submissions(self) -> int:
        """How often sbatch was called."""
        return len((self.folder / "submitted").read_text(encoding="utf-8").splitlines())


@pytest.fixture
def now() -> datetime:
    """Here the command looks at the clock by itself."""
    return datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs `glidepost puller run` in a site's folder; returns exit code and standard error."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def run(site: Site) -> tuple[int, str]:
        monkeypatch.chdir(site.folder)
        monkeypatch.setenv("PATH", f"{site.folder}/bin:/usr/bin:/bin")
        monkeypatch.setattr(sys, "argv", ["glidepost", "puller", "run"])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def site(tmp_path, call, now) -> Site:
    """A site that has submitted one glidein for demand 7 and would submit four more for demand 8."""
    made = Site(tmp_path)
    made.make()
    stage = good(now)
    group = stage.demand().groups[0]
    stage.put(
        DEMAND, stage.demand(sequence=7, groups=(type(group)(**{**vars(group), "sites": {"north": 1}}),)).to_json()
    )
    made.offer(stage)
    code, _ = call(made)
    assert (code, made.submissions, len(made.batch_jobs)) == (0, 1, 1)
    shutil.rmtree(made.folder / "state" / "documents")
    (made.folder / "queue").write_text(f"17@PENDING@Reason@{made.batch_jobs[0]}@\n", encoding="utf-8")
    return made


def serve(web, stage: Stage, site: Site) -> None:
    """Serves what is on the stage by HTTP."""
    headers = dict(stage.headers.get(DEMAND, {}))
    if "Date" in headers:
        web.date = parsedate_to_datetime(headers.pop("Date"))
    web.objects.update(stage.objects)
    if headers or stage.statuses:
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        body, status = stage.objects[DEMAND], stage.statuses.get(DEMAND, 200)
        web.answers[DEMAND] = lambda handler: handler.answer(status, body, **named)
    site.offer(stage, web.url)


def judge(case: Case, site: Site, before: list[str], code: int, err: str) -> None:
    lines = " ".join(err.split())
    assert case.says in lines
    assert "error:" in err
    assert "hint:" in err
    assert "Traceback" not in err
    assert code == case.exit_code
    assert site.submissions == 1
    assert site.batch_jobs == before


def test_without_a_hostile_case_four_more_are_submitted(site, call, now, web):
    site.offer(good(now))
    assert call(site) == (0, "")
    assert (site.submissions, len(site.batch_jobs)) == (2, 2)
    (site.folder / "queue").unlink()
    serve(web, good(now), site)
    err = call(site)[1]
    assert "heartbeat" in err
    assert "demand" not in err


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_document_ends_in_its_exit_code_and_nothing_is_submitted(site, call, now, web, name):
    case, stage, before = CASES[name], good(now), site.batch_jobs
    case.change(stage)
    if case.is_web:
        serve(web, stage, site)
    else:
        site.offer(stage)
        for key in {DEMAND, "v1/sites/north.json"} - set(stage.objects):
            (site.folder / "store" / key).unlink()
    judge(case, site, before, *call(site))


@pytest.mark.parametrize("name", list(CASES)[::7])
def test_the_same_as_cron_starts_it_in_a_process_of_its_own(site, now, web, name):
    case, stage, before = CASES[name], good(now), site.batch_jobs
    case.change(stage)
    if case.is_web:
        serve(web, stage, site)
    else:
        site.offer(stage)
        for key in {DEMAND, "v1/sites/north.json"} - set(stage.objects):
            (site.folder / "store" / key).unlink()
    command = [Path(sys.executable).with_name("glidepost"), "puller", "run"]
    environment = {"PATH": f"{site.folder}/bin:/usr/bin:/bin", "HOME": str(site.folder), "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=site.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    judge(case, site, before, done.returncode, done.stderr)
