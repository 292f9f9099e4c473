"""When a glidein ends: what the batch system says of its walltime, and what the plan makes of it."""

from __future__ import annotations

import random
import shlex
import signal
import time

import pytest
from taking import install, make_node, take


@pytest.mark.parametrize(
    ("left", "walltime_s"),
    [
        ("30:00", 1800),
        ("0:59", 59),
        ("9:08", 548),
        ("1:00:00", 3600),
        ("08:09:07", 29347),
        ("0-08:09:07", 29347),
        ("1-00:00:00", 86400),
        ("3-12:00:00", 86400),
        ("UNLIMITED", 86400),
        ("NOT_SET", 86400),
        ("INVALID", 86400),
        ("", 86400),
        ("0:00", 86400),
        ("1:2:3:4", 86400),
        ("-1:00", 86400),
        ("$(touch x)", 86400),
        ("30", 86400),
    ],
)
def test_squeue_says_what_is_left(node, left, walltime_s):
    path = install(node.folder, "squeue", f'[ "$*" = "-h -j 5 -o %L" ] || exit 1\necho {shlex.quote(left)}')
    taken = take(node, make_node(node.folder, {}), "echo $walltime_s", SLURM_JOB_ID="5", SLURM_CLUSTERS="all", **path)
    assert taken[-1] == str(walltime_s)
    assert list(node.made.iterdir()) == []


@pytest.mark.parametrize("lines", ["exec sleep 100", "echo slurm_load_jobs error: x >&2; exit 1", "kill -9 $$"])
def test_a_controller_that_does_not_answer_leaves_the_walltime_of_the_shape(node, lines):
    path = install(node.folder, "squeue", lines)
    begun = time.monotonic()
    said = take(node, f"{make_node(node.folder, {})}\nASK_S=1", SLURM_JOB_ID="5", **path)
    assert said[-2].startswith("squeue does not say how long")
    assert said[-1] == "slurm: 8 4000 86400"
    assert time.monotonic() - begun < 50


def test_a_signal_does_not_wait_for_squeue(node):
    node.env["PATH"] = install(node.folder, "squeue", f"touch {node.made}/asked\nexec sleep 100")["PATH"]
    node.env["SLURM_JOB_ID"] = "5"
    process = node.start(node.script(node.line(node.pack("touch $MADE/ran")), {}, ASK_S=300))
    end = time.monotonic() + 60
    while not (node.made / "asked").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    ended = node.end(process)
    assert (ended.code, ended.outcome) == (0, "killed")
    assert time.monotonic() - sent < 60
    assert not (node.made / "ran").exists()


@pytest.mark.parametrize(
    ("end", "walltime_s", "said"),
    [
        (1795003600, 3600, "3600 of 86400 s of walltime: SLURM_JOB_END_TIME gives no more"),
        (1795000001, 1, "1 of 86400 s of walltime: SLURM_JOB_END_TIME gives no more"),
        (1795086395, 86395, ""),  # what it took to start is no news
        (1795999999, 86400, ""),  # never more than was asked for
        (1795000000, 86400, "SLURM_JOB_END_TIME=1795000000 has passed: it is not believed"),
        (5, 86400, "SLURM_JOB_END_TIME=5 has passed: it is not believed"),
        ("9" * 30, 86400, ""),
        ("soon", 86400, ""),
    ],
)
def test_the_end_of_a_slurm_job_counts_and_squeue_is_not_asked(node, end, walltime_s, said):
    path = install(node.folder, "squeue", f"touch {node.made}/asked; echo 1:00")
    taken = take(node, make_node(node.folder, {}), SLURM_JOB_ID="5", SLURM_JOB_END_TIME=str(end), **path)
    assert taken == ([said] if said else []) + [f"slurm: 8 4000 {walltime_s}"]
    assert not (node.made / "asked").exists()


def test_a_machine_that_is_a_glidein_itself_says_when_it_dies(node):
    ad = node.folder / "ad"
    ad.write_text('Cpus = 4\nMemory = 2048\nGLIDEIN_ToDie = 1795004000\nGLIDEIN_ToDieX = 1\nName = "Cpus = 1"\n')
    said = take(node, make_node(node.folder, {}), _CONDOR_MACHINE_AD=str(ad))
    assert said[-1] == "htcondor: 4 2048 4000"


# --- the plan of the end


def plans(node, cases: list[tuple[int, int, int, int, int]]) -> list[tuple[int, int]]:
    """Returns to_retire and to_die, from the start on, for asked, given, retire, stagger and the random number."""
    table = "\n".join(
        f"{asked} {given} {retire} {stagger} {number:08x}" for asked, given, retire, stagger, number in cases
    )
    printed = node.call(f"""started=1000000
while read -r GLIDEPOST_WALLTIME_S walltime_s GLIDEPOST_RETIRE_S GLIDEPOST_STAGGER_S number; do
  random=${{number}}-aaaa
  plan_end
  echo "$((to_retire - started)) $((to_die - started))"
done <<TABLE
{table}
TABLE""")
    return [(int(first), int(last)) for first, last in map(str.split, printed.splitlines())]


@pytest.mark.parametrize(
    ("asked", "given", "retire", "plan"),
    [
        (86400, 86400, 1200, (85200, 86340)),
        (86400, 3600, 1200, (2700, 3540)),
        (86400, 1000, 1200, (750, 940)),
        (86400, 300, 1200, (225, 269)),
        (86400, 20, 1200, (15, 17)),
        (86400, 1, 1200, (0, 0)),
        (86400, 86390, 1200, (85190, 86330)),
        (30, 30, 20, (10, 26)),
        (3600, 3600, 0, (3540, 3540)),
    ],
)
def test_less_walltime_has_less_retirement(node, asked, given, retire, plan):
    assert plans(node, [(asked, given, retire, 0, 7)]) == [plan]


def test_every_plan_ends_in_time_and_no_stagger_takes_more_than_half(node):
    chance = random.Random(6)
    cases = []
    for _ in range(150):
        asked = chance.choice([chance.randint(2, 1000), chance.randint(1000, 999999)])
        given = chance.choice([asked, chance.randint(1, asked)])
        retire = chance.randint(0, asked // 4)
        cases.append((asked, given, retire, chance.choice([0, 60, 3600, 999999]), chance.getrandbits(32)))
    plain = plans(node, [(*case[:3], 0, case[4]) for case in cases])
    staggered = plans(node, cases)
    for case, (retire, die), (early_retire, early_die) in zip(cases, plain, staggered):
        given, stagger = case[1], case[3]
        assert 0 <= retire <= die < given, case
        assert retire >= given * 0.75 - max(given / 10 + 1, 60), case
        assert die - early_die == retire - early_retire, case
        assert 0 <= die - early_die <= stagger, case
        assert early_retire == retire or early_retire >= given // 2 - 1, case


def test_staggered_glideins_end_at_times_of_their_own(node):
    ends = [
        die for _, die in plans(node, [(86400, 86400, 1200, 7200, random.Random(n).getrandbits(32)) for n in range(40)])
    ]
    assert len(set(ends)) > 35
    assert 86340 - 7200 <= min(ends) < 86340 - 5400
    assert 86340 - 1800 < max(ends) <= 86340
    assert plans(node, [(86400, 86400, 1200, 7200, 99)] * 2)[0] == plans(node, [(86400, 86400, 1200, 7200, 99)])[0]


@pytest.mark.parametrize("stagger", ["-1", "x", "1h", "08"])
def test_a_malformed_stagger_is_refused(dash_node, stagger):
    ended = dash_node.run(dash_node.line(dash_node.pack("touch $MADE/ran")), STAGGER_S=stagger)
    assert (ended.code, ended.outcome) == (2, "bad-request")
    assert "GLIDEPOST_STAGGER_S is not a whole number" in ended.detail
