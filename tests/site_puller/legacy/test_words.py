"""Options of submit commands and directives, as the batch systems' own parsers take them."""

from __future__ import annotations

import pytest

from glidepost.site_puller.legacy import quantities, words
from glidepost.site_puller.legacy.gridengine import GRIDENGINE
from glidepost.site_puller.legacy.lsf import LSF
from glidepost.site_puller.legacy.slurm import SLURM
from glidepost.site_puller.legacy.torque import TORQUE
from glidepost.site_puller.legacy.words import Taken


def taken(family, line: str) -> tuple[Taken, list[str]]:
    into = Taken()
    rest = words.read(words.split(line), family.dialect, into)
    family.refine(into)
    return into, rest


@pytest.mark.parametrize("line", ["-p gpu -A x", "--partition=gpu --account x", "-pgpu --acc=x", "--part gpu -Ax"])
def test_slurm_options_have_many_spellings(line):
    assert taken(SLURM, line)[0].options == {"partition": "gpu", "account": "x"}


def test_what_has_no_key_stays_as_one_string_each():
    into, rest = taken(SLURM, "-L SCRATCH --mail-type=END --odd --even=1 -Z2 file.sh")
    assert into.extra == ["--licenses=SCRATCH", "--mail-type=END", "--odd", "--even=1", "-Z2"]
    assert rest == ["file.sh"]


def test_what_is_said_after_a_hash_is_a_comment():
    assert taken(SLURM, "-N 1     # one node")[1] == []


@pytest.mark.parametrize(
    ("line", "gres", "gpus"),
    [
        ("--gres=gpu:p100:2", "gpu:p100:{gpus}", "2"),
        ("--gres=gpu:2", "gpu:{gpus}", "2"),
        ("--gres=gpu", "gpu:{gpus}", "1"),
        ("--gres=gpu:4,lscratch:100", "gpu:{gpus},lscratch:100", "4"),
        ("--gpus=a100_1g.5gb:1", "gpu:a100_1g.5gb:{gpus}", "1"),
        ("--gpus-per-node=8", None, "8"),
    ],
)
def test_gpus_of_slurm(line, gres, gpus):
    into, _ = taken(SLURM, line)
    assert into.options.get("gres") == gres
    assert into.last("gpus") == gpus


def test_nodes_of_torque():
    into, _ = taken(TORQUE, "-l nodes=1:ppn=8:fast:gpus=2,mem=16gb,feature=x -l walltime=10:00:00 -q long -j oe")
    assert into.options == {"queue": "long", "node_property": "fast"}
    assert into.extra == ["-l feature=x"]
    assert (into.last("cpus"), into.last("gpus"), into.last("memory_mem")) == ("8", "2", "16gb")


def test_resources_of_grid_engine():
    into, rest = taken(GRIDENGINE, "-l gpu_type=k80,h_rt=3600 -pe smp 4 -w e -cwd")
    assert into.extra == ["-l gpu_type=k80"]
    assert into.options == {"parallel_environment": "smp"}
    assert (rest, into.last("cpus"), into.last("walltime")) == ([], "4", "3600")


def test_arrays_of_lsf_are_not_names():
    assert taken(LSF, "-J name")[0].last("array") == ""
    assert taken(LSF, "-J 'name[1-9]%2'")[0].last("array") == "1-9%2"


def test_what_stands_before_the_command_is_its_prefix():
    line = words.command_line("ssh -x login01 /opt/bin/sbatch -p a", ("sbatch",))
    assert line.prefix == ("ssh", "-x", "login01")
    assert line.options == ("-p", "a")
    assert words.command_line("bsub <", ("bsub",)).options == ()
    assert words.command_line("cd x; qsub", ("qsub",)).is_shell


@pytest.mark.parametrize(
    ("text", "backend", "expected"),
    [
        ("90", "slurm", 5400),
        ("1-0", "slurm", 86400),
        ("2-12:30", "slurm", 217800),
        ("48:00:00", "slurm", 172800),
        ("10:30", "slurm", 630),
        ("3600", "torque", 3600),
        ("90:00", "torque", 5400),
        ("18:00/j0001", "lsf", 64800),
        ("90", "lsf", 5400),
        ("UNLIMITED", "slurm", None),
    ],
)
def test_walltimes_as_each_batch_system_spells_them(text, backend, expected):
    assert quantities.walltime(text, backend) == expected


@pytest.mark.parametrize(
    ("text", "bare", "expected"),
    [("120G", "m", 122880), ("3904", "m", 3904), ("8gb", "m", 8192), ("4000000", "k", 3907), ("a", "m", None)],
)
def test_sizes_as_batch_systems_spell_them(text, bare, expected):
    assert quantities.memory_mib(text, bare=bare) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-100%4", (100, 4)), ("0-10", (11, 0)), ("0,3,5-9", (7, 0)), ("0-9:2", (5, 0)), ("", (0, 0))],
)
def test_arrays(text, expected):
    assert quantities.array(text) == expected
