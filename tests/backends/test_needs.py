"""What 57 real sites needed from pyglidein's successor, each as a puller.toml to copy and what it makes of it.

golden/needs/NN-name.toml is the example, NN-name.txt its limits, submissions, facts for the glidein and queries, as
they were once looked at and found right. What each need is about stands in tests/support/needs_of_*.py as well, so that
a wrong text is not blessed by writing it anew: `GLIDEPOST_GOLDEN=write pytest tests/backends/test_needs.py` writes the
texts and docs/reference/needs.md, and fails.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from needs import FOLDER, Need, needs, submission, table
from needs_granted import granted
from needs_of_configs import OF_CONFIGS
from needs_of_scripts import OF_SCRIPTS

from glidepost.backends.registry import BACKENDS
from glidepost.site_puller.caps import Occupied, capped, limits
from glidepost.site_puller.coverage import Sizes
from glidepost.site_puller.legacy.model import Findings
from glidepost.site_puller.legacy.read import read
from glidepost.site_puller.queue import clean_environment

RECORDED = Path(__file__).parents[1] / "recorded/pyglidein"
DOCS = Path(__file__).parents[2] / "docs/reference/needs.md"
SCHEMA = Path(__file__).parents[2] / "schema/puller-config-1.schema.json"
IS_WRITING = os.environ.get("GLIDEPOST_GOLDEN") == "write"
BOOTSTRAP = Path(__file__).parents[2] / "glidein/bootstrap"
BRACKETS = re.compile(r"[\[\]]")

ALL = needs()
POINTS = {**OF_CONFIGS, **OF_SCRIPTS}


@pytest.fixture(params=ALL, ids=[need.path.stem for need in ALL])
def need(request) -> Need:
    return request.param


# Options that say what holds without them too.
AS_WITHOUT = {
    ("slurm", "gres", "gpu:{gpus}"),
    ("torque", "memory_limits", ("mem",)),
    ("gridengine", "memory_per", "slot"),
    ("gridengine", "gpus", "gpu={gpus}"),
}


def compared(path: Path, text: str) -> None:
    if IS_WRITING:
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"wrote {path}: look at it, then run again")
    assert text == path.read_text(encoding="utf-8")


def test_each_of_the_57_needs_has_an_example_and_a_point():
    numbers = list(range(1, 58))
    assert [need.number for need in ALL] == numbers
    assert sorted(POINTS) == numbers
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == [need.path.stem for need in ALL]


def test_each_example_is_named_like_the_old_file_with_the_same_need():
    assert [need.path.stem for need in ALL] == sorted(path.stem for path in RECORDED.iterdir())


def test_all_backends_are_used():
    assert {shape.backend for need in ALL for shape in need.config.shapes} == set(BACKENDS)


def test_each_example_says_what_the_need_is_and_which_keys_answer_it(need):
    assert list(need.paragraphs)[:2] == ["Need", "Keys"]
    assert set(need.paragraphs) <= {"Need", "Keys", "Not in Glidepost"}
    assert need.path.read_text(encoding="utf-8").startswith(f"# Need {need.number}: ")
    assert all(len(text) > 10 for text in need.paragraphs.values())


def test_each_key_that_an_example_speaks_of_is_one(need):
    keys = set(re.findall(r'"([a-z_]+)": \{', SCHEMA.read_text(encoding="utf-8")))
    assert set(re.findall(r"`([a-z_]+)`", need.paragraphs["Keys"])) <= keys


def test_what_is_submitted_is_what_it_was(need):
    compared(need.golden, need.text())


def test_the_point_of_the_need_is_in_what_is_submitted(need):
    point = POINTS[need.number]
    text = need.text()
    for words in point.has:
        assert words in text, f"{words!r} is not in what need {need.number} submits"
    for words in point.lacks:
        assert words not in text, f"{words!r} is in what need {need.number} submits"


def test_limits_and_what_else_a_shape_promises_are_those_of_the_need(need):
    for key, value in POINTS[need.number].limits.items():
        where, _, name = key.partition(".")
        shapes = {shape.name: (shape, shape.limits, shape.caps) for shape in need.config.shapes}
        tables = {"site": (need.config.limits, need.config.limits.caps), "config": (need.config,), **shapes}[where]
        assert next(getattr(table, name) for table in tables if hasattr(table, name)) == value


@pytest.mark.parametrize(
    ("number", "shape", "occupied", "more"),
    [
        (2, "big", Occupied(total=10, cpus=3998), 1),  # cores, whatever the number of glideins
        (2, "big", Occupied(total=10, cpus=4000), 0),
        (2, "accel2", Occupied(total=1, cpus=8), 0),
        (2, "accel6", Occupied(cpus=24), 1),
        (5, "whole", Occupied(total=899), 1),  # of both shapes together
        (17, "gpu-shared", Occupied(total=2, waiting=1), 0),  # one queued at a time
        (46, "gh200", Occupied(), 2),
        (46, "gh200", Occupied(total=2), 2),  # two run: two more may wait
        (46, "gh200", Occupied(total=4, waiting=2), 0),
        (53, "ce", Occupied(total=9), 3),
    ],
)
def test_limits_leave_room_for_as_many_as_the_need_says(number, shape, occupied, more):
    config = ALL[number - 1].config
    found = next(one for one in config.shapes if one.name == shape)
    sizes: Sizes = ((found.resources, 100),)
    for limit in limits(found, occupied, config.limits, occupied):
        cut = capped(sizes, limit)
        sizes = sizes if cut is None else cut
    assert sum(count for _, count in sizes) == more


def test_what_the_importer_finds_in_the_old_file_is_in_the_example(need):
    draft = read(next(RECORDED.glob(f"{need.path.stem}.*")), Findings())
    given = [item for shape in need.config.shapes for item in shape.options.items()]
    assert {shape.backend for shape in draft.shapes} <= {shape.backend for shape in need.config.shapes}
    for shape in draft.shapes:
        said = [item for item in shape.options.items() if isinstance(item[1], str) and not shape.off]
        assert all(any(key == name and text in str(value) for name, value in given) for key, text in said)


def test_each_option_changes_what_is_submitted(need):
    for shape in need.config.shapes:
        for key, value in shape.options.items():
            if key == "folder":  # (in each shape of `local`, from the state folder)
                continue
            without = {name: other for name, other in shape.options.items() if name != key}
            is_told = submission(need.config, shape, without) != submission(need.config, shape, shape.options)
            assert is_told == ((shape.backend, key, value) not in AS_WITHOUT), f"{shape.name}: {key}"


def test_what_an_option_says_is_told_to_the_batch_system_in_these_words(need):
    for one in need.rendered():
        words = "\n".join(one.command.argv)
        for key, value in one.shape.options.items():
            for text in value if isinstance(value, tuple) else (value,):
                said = str(text).replace("{gpus}", str(one.request.resources.gpus)).replace(" ", "\n", 1)
                is_number = key in {"memory_unit", "memory_per", "memory"}
                is_alone = key == "parallel_environment" and one.request.resources.cpus == 1
                is_text = isinstance(text, str) and not is_number and not is_alone
                assert not is_text or said in words or str(text) in words, f"{one.shape.name}: {key}"


def test_as_much_is_asked_for_as_the_shape_has_and_never_more_offered(need):
    for one in need.rendered():
        asked, gets = one.request.resources, granted(one.shape.backend, one.command)
        # What rounding up may add: to whole MiB for each core, and to whole minutes.
        slack = {"cpus": 0, "gpus": 0, "memory_mib": asked.cpus, "disk_mib": asked.cpus, "walltime_s": 59}
        for name, more in slack.items():
            got, wanted = getattr(gets, name), getattr(asked, name)
            may_lack = not wanted or name == "disk_mib" or name in POINTS[need.number].unasked
            assert may_lack if got is None else wanted <= got <= wanted + more, f"{one.shape.name}: {name}"
        assert int(one.facts["GLIDEPOST_CPUS"]) == asked.cpus
        assert int(one.facts["GLIDEPOST_GPUS"]) == asked.gpus
        assert int(one.facts["GLIDEPOST_MEMORY_MIB"]) == asked.memory_mib - one.shape.memory_margin_mib
        assert int(one.facts["GLIDEPOST_WALLTIME_S"]) == asked.walltime_s


def test_the_glidein_is_told_what_the_file_says(need):
    glidein = need.config.glidein
    said = [
        glidein.cache,
        glidein.network_interface,
        glidein.start,
        glidein.gpu_discovery,
        glidein.proxy,
        *glidein.keep,
    ]
    said += [f"{name}={text}" for name, text in glidein.environment.items()]
    for one in need.rendered():
        facts = "\n".join(one.facts.values())
        for text in (*said, one.shape.scratch, *one.shape.setup, *one.shape.cvmfs):
            assert text in facts


def test_glideins_have_a_folder_of_their_own_in_a_scratch_without_batch_ids(need):
    for shape in need.config.shapes:
        assert not BRACKETS.search(shape.scratch)
        assert not re.search(r"JOB|ARRAY|TASK|INDEX", shape.scratch)


@pytest.mark.parametrize(
    "job",
    [
        {"PBS_JOBID": "12[3].server.example.org"},
        {"LSB_JOBID": "12", "LSB_JOBINDEX": "3"},
        {"JOB_ID": "12", "SGE_TASK_ID": "3"},
    ],
    ids=lambda job: next(iter(job)),
)
def test_the_folder_of_a_member_of_an_array_has_no_brackets_in_its_name(job):
    text = "".join((BOOTSTRAP / name).read_text() for name in ("1-words.sh", "5-names.sh"))
    done = subprocess.run(
        ["sh", "-c", f'{text}\nname_glidein\necho "$glidein"'],
        env={"PATH": os.environ["PATH"], "GLIDEPOST_NAME": "gp-1a2b3c", **job},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert re.fullmatch(r"gp-1a2b3c-12-3-[a-z0-9-]+\n", done.stdout)


def test_the_script_goes_by_standard_input_and_never_on_the_command_line(need):
    for one in need.rendered():
        assert "exec sleep 60" in one.command.stdin
        assert not any("exec sleep 60" in word for word in one.command.argv)


def test_the_files_of_sites_hold_no_secrets(need):
    text = need.path.read_text(encoding="utf-8")
    assert not re.search(r"(?i)eyJ|secret|password|access_key", text)


@pytest.mark.parametrize(
    "name", ["SLURM_CPUS_PER_TASK", "SLURM_NTASKS", "SLURM_JOB_ID", "SBATCH_ACCOUNT", "SBATCH_QOS"]
)
def test_what_scrontab_sets_does_not_reach_sbatch(name):  # need 45
    assert set(clean_environment({name: "1", "SLURM_CONF": "/etc/slurm.conf"})) == {"SLURM_CONF", "LC_ALL"}


def idle_gpu(tmp_path: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Runs the setup lines of need 57 where nvidia-smi says this."""
    shape = next(shape for shape in ALL[56].config.shapes if shape.setup)
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<END\n{answer}\nEND\n")
    program.chmod(0o755)
    lines = "\n".join([*shape.setup, 'echo "$CUDA_VISIBLE_DEVICES"'])
    path = f"{tmp_path}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", lines], env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60
    )


def test_of_the_gpus_of_a_shared_host_the_one_with_the_most_free_memory_is_taken(tmp_path):  # need 57
    done = idle_gpu(tmp_path, "GPU-aaaa, 900\nGPU-bbbb, 40100\nGPU-cccc, 12000")
    assert (done.returncode, done.stdout) == (0, "GPU-bbbb\n")


def test_where_no_gpu_has_enough_memory_the_glidein_ends(tmp_path):  # need 57
    assert idle_gpu(tmp_path, "GPU-aaaa, 900\nGPU-bbbb, 7999").returncode == 1


def test_the_reference_page_says_what_the_files_say():
    compared(DOCS, table())


def test_needs_that_had_one_count_for_several_partitions_have_one_limit_over_all_shapes():
    shared = [need.number for need in ALL if need.config.limits.max_total or need.config.limits.max_queued]
    assert shared == [5, 12, 17, 20, 44]
