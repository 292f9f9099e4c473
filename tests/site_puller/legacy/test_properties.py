"""Whatever is in an old file: each key gets one verdict, only a ConfigError comes out, and the new file loads."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import SigningKey
from glidepost.schema.puller_config import PullerConfig
from glidepost.site_puller.legacy.known import KNOWN
from glidepost.site_puller.legacy.merge import merge
from glidepost.site_puller.legacy.model import Findings, SiteDraft
from glidepost.site_puller.legacy.read import translated
from glidepost.site_puller.legacy.write import Given, render

KEY = str(SigningKey.generate().public)
PARTS = ("gpu", "cpu-himem", "Half_Node", "ä partition")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
COMMANDS = st.sampled_from(
    [
        "sbatch -p gpu --gres=gpu:k80:2 -A x --time=1-0",
        "ssh login01 qsub -l nodes=1:ppn=4:gpus=1,mem=8gb -N n",
        "bsub < ",
        "cd /x; qsub",
        "condor_submit -name s -a '+X = 1'",
        "squeue -u $USER -t RUNNING | grep -v C | wc -l",
        "qstat | grep x | awk '{N += $7} END {print N}'",
        "#SBATCH -C a\n  #SBATCH --mem=4G\n  export A=b",
        "#BSUB -J x[1-5]\n\t#BSUB -M 4000000\n  module load cuda",
        '+ProjectName = "x"\n  requirements = y',
        "rm -rf $LOCAL_DIR",
        "%(user)s %% %",
    ]
)
NUMBERS = st.sampled_from(["0", "-1", "1", "8", "24000", "10000000", "9" * 30, "1e400", "0.5", "012", "08", "many", ""])
OTHERS = st.sampled_from(
    ["True", "False", "no", "None", "[]", "['gpu', '-memory', 'age', 3]", "{'a': 1}", "(", "$HOME/x"]
)
SCHEDULERS = st.sampled_from(["slurm", "PBS", "uge", "SGE", "LSF", "HTCondor", "moab"])
VALUES = st.one_of(WORDS, COMMANDS, NUMBERS, OTHERS, SCHEDULERS)


@st.composite
def sections(draw) -> str:
    """One section with known and unknown keys; sections and keys come twice."""
    name = draw(st.sampled_from([*KNOWN, *PARTS, "DEFAULT", "StardChecks"]))
    known = [*KNOWN.get(name, {}), *KNOWN["Cluster"]]
    keys = st.one_of(st.sampled_from(known), st.from_regex(r"[A-Za-z+][A-Za-z_ ]{0,12}[a-z]", fullmatch=True))
    lines = draw(st.lists(st.tuples(keys, VALUES), max_size=14))
    return f"[{name}]\n" + "\n".join(f"{key} = {value}" for key, value in lines)


@st.composite
def configurations(draw) -> str:
    partitions = draw(st.sampled_from(["gpu", "gpu, cpu-himem", ","]))
    cluster = f"[Cluster]\nscheduler = {draw(SCHEDULERS)}\npartitions = {partitions}"
    return "\n".join([*draw(st.lists(sections(), max_size=6)), cluster]) + "\n"


@st.composite
def scripts(draw) -> str:
    directive = draw(st.sampled_from(["#SBATCH", "#PBS", "#BSUB", "#$", "#"]))
    options = st.sampled_from(
        ["-t 1:00", "-t", "--mem=0", "--mem-per-cpu=2G", "-n 4", "-c 0", "--gres=gpu", "--gpus=a:b:x", "-l walltime=9",
         "-pe mpi 8", "-M 5", "--array=1-9%2", "-J [1-3]", "-W 90", "-l nodes=1:ppn=3", "--bad", "-o '"]
    )  # fmt: skip
    names = [
        "MEMORY",
        "CPUS",
        "GPUS",
        "DISK",
        "WALLTIME",
        "SITE",
        "LOCAL_DIR",
        "TOKEN",
        "START_EXTRA",
        "http_proxy",
        "x",
    ]
    lines = [f"{directive} {option}" for option in draw(st.lists(options, max_size=8))]
    for name, value in draw(st.lists(st.tuples(st.sampled_from(names), st.one_of(WORDS, NUMBERS)), max_size=8)):
        lines.append(f"{draw(st.sampled_from(['', 'export ']))}{name}={value}")
    lines += draw(st.lists(st.one_of(WORDS, COMMANDS), max_size=6))
    return "#!/bin/sh\n" + "\n".join(lines) + "\n"


@st.composite
def submit_files(draw) -> str:
    names = ["request_cpus", "request_memory", "request_disk", "environment", "+X", "requirements", "log", "odd"]
    lines = [
        f"{draw(st.sampled_from(names))} = {draw(st.one_of(WORDS, NUMBERS, OTHERS))}"
        for _ in range(draw(st.integers(0, 8)))
    ]
    return "universe = vanilla\n" + "\n".join([*lines, draw(st.sampled_from(["", "queue", "queue 3", "queue x in y"]))])


def imported(text: str) -> tuple[SiteDraft, Findings]:
    findings = Findings()
    draft = merge([translated(text.encode(), "old", findings)], findings)
    return draft, findings


def loads(draft: SiteDraft) -> None:
    """Loads the new file. One without shapes cannot, and says so."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "puller.toml")
        path.write_text(render(draft, Given("https://pool.example.org", KEY, "north")), encoding="utf-8")
        if any(not shape.off for shape in draft.shapes):
            PullerConfig.load(path)
        else:
            with pytest.raises(ConfigError, match="shapes"):
                PullerConfig.load(path)


@given(text=st.one_of(configurations(), scripts(), submit_files()))
def test_the_new_file_loads(text):
    try:
        draft, _ = imported(text)
    except ConfigError:
        return
    loads(draft)


@given(text=configurations())
def test_each_key_of_a_configuration_is_in_the_report_exactly_once(text):
    draft, findings = imported(text)
    found = Counter((one.section, one.line) for one in findings.of(draft.entries, KNOWN))
    assert all(number == 1 for number in found.values())
    in_file = set()
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("["):
            section = line[1:-1]
        elif line[:1].strip() and "=" in line:
            in_file.add((section, number))
    earlier = {(entry.section, line) for entry in draft.entries for line in entry.earlier}
    # what `rem` begins is a comment, and so is what begins with # or ;
    comments = {(name, line) for name, line in in_file if text.split("\n")[line - 1].lower().startswith("rem ")}
    assert in_file - comments <= set(found) | earlier


@given(text=scripts())
def test_each_directive_and_variable_of_a_script_is_in_the_report(text):
    try:
        draft, findings = imported(text)
    except ConfigError:
        return
    found = [(one.section, one.key) for one in findings.of(draft.entries, KNOWN)]
    assert len(found) == len(set(found))
    assert all(one.what for one in findings.of(draft.entries, KNOWN))


@given(body=st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
def test_arbitrary_bytes_give_a_draft_or_a_configuration_error(body):
    with suppress(ConfigError):
        translated(body, "old", Findings())


@given(text=st.text("[]=:%(); \n\tabrem#\"'\\$@", max_size=200))
def test_text_that_is_nearly_a_configuration_gives_a_draft_or_a_configuration_error(text):
    try:
        draft, _ = imported("[Cluster]\n" + text)
    except ConfigError:
        return
    loads(draft)
