"""What a glidein takes of what the batch system and the node give."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

import pytest
from taking import RECORDED, install, make_node, recorded, take

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "what-a-glidein-takes.md"
PARTS = Path(__file__).parents[2] / "glidein" / "bootstrap"
CODE = "".join((PARTS / name).read_text() for name in ("6-deadline.sh", "6-resources.sh", "7-gpus.sh", "8-gpus.sh"))
NUMBERS = ["", "0", "-1", "unlimited", "max", "08", "1e3", "2 3", "4(x2)", "9" * 30, "$(touch x)", "`touch x`", "1\n2"]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("slurm-22.05.8", "slurm: 2 1000 1800"),
        ("openpbs-23.06", "pbs: 2 1000 86400"),
        ("torque-6.1.3", "torque: 2 4000 1800"),
        ("gridengine-8.1.9", "gridengine: 2 4000 86400"),
        ("ocs-9.2", "gridengine: 2 4000 86400"),
        ("openlava-2.2", "lsf: 2 4000 86400"),
        ("lsf-10.1", "lsf: 2 4000 86400"),
        ("htcondor-25.14.1", "htcondor: 2 1024 1800"),
        ("none", "none: 8 4000 86400"),
    ],
)
def test_a_glidein_takes_what_its_batch_system_gives(node, name, taken):
    before = [make_node(node.folder, {})]
    if name.startswith("openpbs"):
        before.append("ulimit -m 1024000")
    if name.startswith("htcondor"):
        before.append("started=1795365151")
    assert take(node, "\n".join(before), **recorded(name))[-1] == taken


def test_every_recorded_environment_is_tried():
    text = Path(__file__).read_text()
    names = {path.name[: -len(".env")] for path in RECORDED.glob("*.env")}
    assert len(names) > 8
    assert {name for name in names if f'("{name}", ' not in text} == set()


def test_it_says_what_it_does_not_get_and_advertises_what_was_asked(node):
    said = take(
        node, make_node(node.folder, {}), 'echo "$more_names"; echo "$more_config"', **recorded("slurm-22.05.8")
    )
    assert said[:3] == [
        "2 of 8 cpus: SLURM_CPUS_ON_NODE gives no more",
        "1000 of 4000 MiB of memory: SLURM_MEM_PER_NODE gives no more",
        "1800 of 86400 s of walltime: squeue gives no more",
    ]
    assert said[3] == ", GLIDEPOST_AskedCpus, GLIDEPOST_AskedMemoryMiB, GLIDEPOST_AskedWalltimeS"
    assert said[4] == "GLIDEPOST_AskedCpus = 8"


def test_it_says_nothing_when_it_gets_everything(node):
    env = {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "128", "SLURM_MEM_PER_NODE": "512000"}
    said = take(node, make_node(node.folder, {}), 'echo "$more_config$cpus"', SLURM_JOB_END_TIME="1795086390", **env)
    assert said == ["8"]


@pytest.mark.parametrize(
    ("env", "taken"),
    [
        # a plugin makes PBS_* in batch jobs of Slurm; the environment of who submits goes along with some
        ({"SLURM_JOB_ID": "1", "PBS_JOBID": "1", "PBS_NP": "1", "PBS_WALLTIME": "60"}, "slurm: 8 4000 1800"),
        ({"PBS_JOBID": "1", "NCPUS": "4", "LSB_JOBID": "1", "LSB_DJOB_NUMPROC": "1"}, "pbs: 4 4000 86400"),
        ({"GLIDEPOST_BATCH_JOB": "1.0", "SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "1"}, "none: 8 4000 86400"),
        ({"JOB_ID": "7"}, "none: 8 4000 86400"),
        ({"SLURM_CPUS_ON_NODE": "1", "NCPUS": "1", "NSLOTS": "1"}, "none: 8 4000 86400"),
        # several tasks
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS": "4"}, "slurm: 8 4000 1800"),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS": "1"}, "slurm: 2 4000 1800"),
        ({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "2", "SLURM_MEM_PER_CPU": "700"}, "slurm: 2 1400 1800"),
        ({"SLURM_JOB_ID": "1", "SLURM_GPUS_ON_NODE": "2", "SLURM_MEM_PER_GPU": "700"}, "slurm: 8 1400 1800"),
        ({"PBS_JOBID": "1", "PBS_NP": "4", "PBS_NUM_PPN": "1", "PBS_NUM_NODES": "1"}, "torque: 4 4000 86400"),
        ({"PBS_JOBID": "1", "PBS_NP": "4", "PBS_NUM_PPN": "2", "PBS_NUM_NODES": "2"}, "torque: 2 4000 86400"),
        ({"LSB_JOBID": "1", "LSB_DJOB_NUMPROC": "6", "LSB_MCPU_HOSTS": "a 2 b 4"}, "lsf: 2 4000 86400"),
    ],
)
def test_only_the_variables_of_its_own_batch_job_count(node, env, taken):
    assert take(node, make_node(node.folder, {}), **env)[-1] == taken


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("SLURM_JOB_ID", ["SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"]),
        ("PBS_JOBID", ["NCPUS", "PBS_NP", "PBS_NUM_PPN", "PBS_WALLTIME"]),
        ("LSB_JOBID", ["LSB_DJOB_NUMPROC", "LSB_MCPU_HOSTS"]),
        ("JOB_ID", ["NSLOTS"]),
    ],
)
def test_what_is_no_number_is_no_limit_and_is_not_run(node, system, names):
    seen = set()
    for number in NUMBERS:
        env = {system: "1", "SLURM_JOB_END_TIME": number or "x", **dict.fromkeys(names, number)}
        # (LSB_MCPU_HOSTS is a list)
        taken = take(
            node, make_node(node.folder, {}), **{**env, "LSB_MCPU_HOSTS": f"a {number}"} if "LSB" in system else env
        )
        if not (system == "LSB_JOBID" and number in {"2 3", "1\n2"}):
            seen.add(taken[-1].partition(": ")[2])
    assert seen == {"8 4000 86400"}
    assert sorted(path.name for path in node.made.iterdir()) == []


# --- affinity


@pytest.mark.parametrize(
    ("allowed", "online", "cpus"),
    [
        ("0-63", "0-63", 8),
        ("0-1", "0-1", 8),  # the site overcommits: the node is small, nothing is kept from us
        ("0", "0", 8),
        ("0-127", "0-3", 8),  # cores that could be there, and are not
        ("4-5", "0-63", 2),
        ("0,2,4-6,32", "0-63", 6),
        ("8-11,40-43", "0-95", 8),
        ("8-11,40-42", "0-95", 7),
        ("0-1023", "0-2047", 8),
        ("63", "0-63", 1),
        ("", "0-63", 8),
        ("0-3", "", 8),
        ("0-x", "0-63", 8),
        ("3-", "0-63", 8),
    ],
)
def test_the_affinity_counts_where_it_is_a_part_of_the_node(node, allowed, online, cpus):
    files = {
        "proc/self/status": f"Name:\tsh\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed_list:\t0\n",
        "sys/devices/system/cpu/online": f"{online}\n",
    }
    assert take(node, make_node(node.folder, files), "echo $cpus")[-1] == str(cpus)


def test_the_real_affinity_is_read(dash_node):
    """On this very node, with one core of those that there are; a node of one core has no part."""
    is_single = Path("/sys/devices/system/cpu/online").read_text() == "0\n"
    dash_node.shell = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *dash_node.shell]
    assert take(dash_node, "", "echo $cpus")[-1] == "1" or is_single


def test_a_node_without_proc_and_sys_gives_what_was_asked(node):
    assert take(node, "NODE=/nonexistent") == ["none: 8 4000 86400"]


def test_a_small_address_space_or_node_is_said_and_lowers_nothing(node):
    seen = make_node(node.folder, {"proc/meminfo": "MemTotal:        2048000 kB\n"})
    said = take(node, f"{seen}\nulimit -v 3000000")
    assert said[0].startswith("the address space is limited to 2929 MiB (ulimit -v)")
    assert said[1] == "this node has 2000 MiB of memory in all"
    assert said[2] == "none: 8 4000 86400"


# --- disk


@pytest.mark.parametrize(
    ("said", "disk_mib"),
    [
        ("/dev/sda1 10000000 1 9999999 1% /", 300),
        (f"tmpfs 1000000 1 {264 * 1024} 99% /tmp", 200),
        (f"//server/some share 1000000 1 {264 * 1024} 99% /a folder/b 5% c", 200),
        (f"server:/vol 99999999999 1 {364 * 1024 - 1}  4% /x", 299),
        ("none 0 0 0 - /x", 300),
        ("", 300),
    ],
)
def test_what_is_free_in_the_scratch_folder_counts(node, said, disk_mib):
    head = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    path = install(node.folder, "df", f"echo {shlex.quote(head)}; echo {shlex.quote(said)}")
    assert take(node, make_node(node.folder, {}), "echo $disk_mib", **path)[-1] == str(disk_mib)
    assert list(node.made.iterdir()) == []


def test_a_full_scratch_folder_ends_the_glidein_with_words_and_after_a_pause(node):
    path = install(node.folder, "df", "echo Filesystem; echo /dev/sda1 1000000 1 100000 90% /scratch")
    node.env["PATH"] = path["PATH"]
    ended = node.run(node.line(node.pack("touch $MADE/ran")), FAIL_PAUSE_S="1")
    assert (ended.code, ended.outcome) == (1, "no-scratch")
    assert ended.detail.endswith("is full: 97 MiB are free where user jobs are to get 1024")
    assert "holding the batch job for 1 s" in ended.output
    assert not (node.made / "ran").exists()


def test_a_file_system_that_does_not_answer_is_not_waited_for(node):
    path = install(node.folder, "df", "exec sleep 100")
    begun = time.monotonic()
    assert take(node, f"{make_node(node.folder, {})}\nASK_S=1", "echo $disk_mib", **path)[-1] == "300"
    assert time.monotonic() - begun < 50


# --- all of it


def test_a_whole_glidein_advertises_what_it_took(node):
    node.env.update(SLURM_JOB_ID="5", SLURM_CPUS_ON_NODE="1", SLURM_MEM_PER_NODE="1000")
    node.env["SLURM_JOB_END_TIME"] = str(int(time.time()) + 1800)
    ended = node.run_master("cp $SCRATCH/condor_config $MADE/", STAGGER_S="300")
    config = (node.made / "condor_config").read_text()
    for line in ("NUM_CPUS = 1", "MEMORY = 1000", "GLIDEPOST_AskedCpus = 2", "GLIDEPOST_AskedMemoryMiB = 2048"):
        assert line in config.splitlines(), ended.output
    attributes = re.search(r"^STARTD_ATTRS = (.*\\\n)*.*$", config, re.MULTILINE)
    assert attributes
    for name in ("GLIDEPOST_AskedCpus", "GLIDEPOST_AskedMemoryMiB", "GLIDEPOST_AskedWalltimeS"):
        assert name in attributes[0]
    dies = re.search(r"^GLIDEIN_ToDie = (\d+)$", config, re.MULTILINE)
    assert dies
    assert 900 - 60 <= int(dies[1]) - int(node.env["SLURM_JOB_END_TIME"]) + 1800 <= 1740


def test_the_reference_names_every_variable_that_the_glidein_reads():
    words = re.compile(r"\b((?:_CONDOR|SLURM|PBS|LSB)_[A-Z_]+|NCPUS|NSLOTS|cpu\.[a-z_]+|memory\.[a-z_]+)\b")
    # these only tell which batch system it is
    told_apart = {
        "SLURM_JOB_ID",
        "PBS_JOBID",
        "LSB_JOBID",
        "_CONDOR_SCRATCH_DIR",
        "SLURM_CLUSTERS",
        "cpu.cfs_period_us",
        "memory.total",  # nvidia-smi's
    }
    assert set(words.findall(CODE)) - told_apart == set(words.findall(DOCS.read_text()))


def test_the_reference_names_every_attribute_that_the_glidein_adds():
    names = {"Cpus", "MemoryMiB", "DiskMiB", "WalltimeS"}
    assert set(re.findall(r"GLIDEPOST_Asked(\w+)", DOCS.read_text())) == {*names, "GPUs"}
    assert names <= set(re.findall(r"\btell_less .* (\w+)$", CODE, re.MULTILINE)) <= {*names, "GPUs"}
