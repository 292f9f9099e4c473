"""A Slurm of one JSON file, behind the executables in tests/fakes/bin. It checks what it is asked as the real one does.

    GLIDEPOST_FAKE_STATE         the file: {"next_id": 1, "jobs": [{"id", "name", "state", "reason", "apart", ...}],
                                 "calls": [[...]]}; a test may edit it, for instance to let batch jobs start
    GLIDEPOST_FAKE_SBATCH=MODE   (or SQUEUE, SCANCEL, SCONTROL) down: the daemon does not answer; hang; garbage: exit
                                 code 0 and nonsense; cut: exit code 0 and half of the answer; lost: it does what it
                                 was asked, and then says that it failed; orphan (SBATCH only): it kills who called it,
                                 and does what it was asked a second later
    GLIDEPOST_FAKE_SUBMIT_LIMIT  so many batch jobs at most, as a QOS has it

What it takes, Slurm 22.05.8 took; its refusals are Slurm's words and exit codes.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Options that we know of each command, and whether they take a value.
OPTIONS = {
    "sbatch": {
        "value": "account array chdir comment constraint cpus-per-task export gres job-name mem nice nodes ntasks"
        " output partition qos reservation signal time tmp",
        "flag": "exclusive hold no-requeue parsable requeue test-only",
    },
    "squeue": {"value": "format name states user", "flag": "all array me noheader"},
    "scancel": {"value": "name state user", "flag": "quiet"},
    "scontrol": {"value": "", "flag": ""},
    "sinfo": {"value": "format", "flag": "all exact noheader"},
}
# Variables by which squeue leaves something out.
FILTERS = {"SQUEUE_ACCOUNT", "SQUEUE_NAMES", "SQUEUE_PARTITION", "SQUEUE_QOS", "SQUEUE_STATES", "SQUEUE_USERS"}
PARTITIONS = {"main", "gpu", "hidden"}
SINFO = """\
main*@up@1:00:00@4@8000@
gpu@up@1-06:00:00@64@256000@
gpu@up@1-06:00:00@8@32000@
hidden@down@infinite@4@8000@
"""
MAX_ARRAY_SIZE = 1001


class Refused(Exception):  # noqa: N818
    """What the command says on stderr, and its exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def parse(command: str, argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Returns options and operands as getopt_long would: an option that wants a value takes the next word."""
    takes = {kind: names.split() for kind, names in OPTIONS[command].items()}
    options: dict[str, str] = {}
    operands: list[str] = []
    words = iter(argv)
    for word in words:
        if not word.startswith("--"):
            operands.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if name in takes["flag"] and (not equals or name == "exclusive"):
            options[name] = value
        elif name in takes["value"]:
            options[name] = value if equals else next(words, "")
        else:
            raise Refused(
                f"{command}: unrecognized option '{word}'\nTry \"{command} --help\" for more information", 255
            )
    return options, operands


@contextmanager
def queue(command: str) -> Iterator[dict[str, object]]:
    path = Path(os.environ["GLIDEPOST_FAKE_STATE"])
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text()) if path.exists() else {"next_id": 1, "jobs": []}
        state.setdefault("calls", []).append([command, *sys.argv[1:]])
        yield state
        path.write_text(json.dumps(state, indent=1))


def check_submission(options: dict[str, str], script: str) -> None:
    if not script.startswith("#!"):
        raise Refused(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter."
        )
    if not re.fullmatch(r"\d+[KMGT]?", options.get("mem", "0")):
        raise Refused("sbatch: fatal: Invalid --mem specification", 255)
    if not re.fullmatch(r"\d+", options.get("time", "1")):
        raise Refused("sbatch: error: Invalid --time specification", 255)
    if not re.fullmatch(r"\w+(:\w+)*(,\w+(:\w+)*)*", options.get("gres", "gpu")):
        raise Refused("sbatch: error: Invalid generic resource (gres) specification")
    failed = "sbatch: error: Batch job submission failed: "
    partition = options.get("partition", "main")
    if not set(partition.split(",")) <= PARTITIONS:
        raise Refused(
            f"sbatch: error: invalid partition specified: {partition}\n{failed}Invalid partition name specified"
        )
    if int(options.get("cpus-per-task", "1")) > 64:
        raise Refused(f"{failed}More processors requested than permitted")


def judge(options: dict[str, str]) -> str:
    """Returns what --test-only says."""
    if options.get("account") == "nobody":
        raise Refused("allocation failure: Invalid account or account/partition combination specified")
    members(options)
    sys.stderr.write("sbatch: Job 7 to start at 2026-11-22T12:09:26 using 1 processors on nodes sn0\n")
    return ""


def members(options: dict[str, str]) -> list[str]:
    if "array" not in options:
        return [""]
    match = re.fullmatch(r"0-(\d+)", options["array"])
    if match is None or int(match[1]) >= MAX_ARRAY_SIZE:
        raise Refused("sbatch: error: Batch job submission failed: Invalid job array specification")
    return [f"_{index}" for index in range(int(match[1]) + 1)]


def sbatch(argv: list[str]) -> str:
    options, operands = parse("sbatch", argv)
    script = Path(operands[0]).read_text() if operands else sys.stdin.read()
    check_submission(options, script)
    if "test-only" in options:
        return judge(options)
    if os.environ.get("GLIDEPOST_FAKE_SBATCH") == "orphan":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1)
    with queue("sbatch") as state:
        jobs = state["jobs"]
        new = members(options)
        limit = int(os.environ.get("GLIDEPOST_FAKE_SUBMIT_LIMIT", "10000"))
        if len(jobs) + len(new) > limit:
            raise Refused(
                "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
                "accounting/QOS policy (job submit limit, user's size and/or time limits)"
            )
        number = state["next_id"]
        state["next_id"] += 1
        common = {
            "name": options.get("job-name", "sbatch"),
            "state": "PD",
            "reason": "JobHeldUser" if "hold" in options else "Priority",
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "partition": options.get("partition", "main"),
            "argv": argv,
            "script": script,
            # What the real one would have taken from the environment.
            "environment": sorted(name for name in os.environ if name.startswith("SBATCH_")),
        }
        jobs += [{"id": f"{number}{member}", "apart": member == "", **common} for member in new]
    return f"{number}\n" if "parsable" in options else f"Submitted batch job {number}\n"


def squeue(argv: list[str]) -> str:
    options, _ = parse("squeue", argv)
    me = pwd.getpwuid(os.geteuid()).pw_name
    user = me if "me" in options else options.get("user")
    if user is not None and user not in {account.pw_name for account in pwd.getpwall()}:
        raise Refused(f"squeue: error: Invalid user: {user}")
    if "SLURM_CLUSTERS" in os.environ:
        raise Refused("squeue: error: Problem talking to database")
    lines = [] if "noheader" in options else ["HEADER"]
    with queue("squeue") as state:
        for job in state["jobs"]:
            hidden = job["partition"] == "hidden" and "all" not in options
            if hidden or job["user"] != user or FILTERS & os.environ.keys():
                continue
            if job["state"] not in {"PD", "R", "CG", "CF", "S", "ST", "SO", "SI", "RS"} and "states" not in options:
                continue
            line = options["format"]
            if "array" not in options and not job["apart"]:
                line = line.replace("%i", str(job["id"]).replace("_", "_[") + "]")
            for letter, key in (("i", "id"), ("t", "state"), ("r", "reason"), ("j", "name")):
                line = line.replace(f"%{letter}", str(job[key]))
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def scontrol(argv: list[str]) -> str:
    _, (verb, *ids) = parse("scontrol", argv)
    if [verb, *ids] == ["show", "config"]:
        return f"Configuration data as of 2026-11-22T12:09:25\nMaxArraySize            = {MAX_ARRAY_SIZE}\n"
    if verb != "hold":
        raise Refused(f"invalid keyword: {verb}")
    problems = []
    with queue("scontrol") as state:
        known = {job["id"]: job for job in state["jobs"]}
        for wanted in ids:
            if wanted in known:
                known[wanted].update(reason="JobHeldUser", apart=True)
            else:
                problems.append(f"Invalid job id specified for job {wanted}")
    if problems:
        raise Refused("\n".join([*problems, "slurm_suspend error: Invalid job id specified"]))
    return ""


def sinfo(argv: list[str]) -> str:
    options, _ = parse("sinfo", argv)
    if {"all", "exact", "noheader"} - options.keys() or options.get("format") != "%P@%a@%l@%c@%m@":
        raise Refused("sinfo: error: the fake knows one question only")
    return SINFO


def scancel(argv: list[str]) -> str:
    options, ids = parse("scancel", argv)
    if not ids and not options:
        raise Refused("scancel: error: No job identification provided")
    problems = []
    with queue("scancel") as state:
        jobs = state["jobs"]
        known = {job["id"]: job for job in jobs}
        doomed = set(known) if not ids else set()
        for wanted in ids:
            if wanted not in known:
                problems.append(f"scancel: error: Kill job error on job id {wanted}: Invalid job id specified")
            elif options and not known[wanted]["apart"]:
                # With any filter, those that were never set apart are one record: all of them go.
                array = wanted.split("_")[0]
                doomed |= {job["id"] for job in jobs if not job["apart"] and job["id"].split("_")[0] == array}
            else:
                doomed.add(wanted)
        wanted_state = {"PENDING": {"PD"}, "RUNNING": {"R"}}.get(options.get("state", ""), {"PD", "R"})
        state["jobs"] = [job for job in jobs if not (job["id"] in doomed and job["state"] in wanted_state)]
    if problems:
        raise Refused("\n".join(problems))
    return ""


COMMANDS = {"sbatch": sbatch, "squeue": squeue, "scontrol": scontrol, "scancel": scancel, "sinfo": sinfo}


def main(command: str) -> int:
    mode = os.environ.get(f"GLIDEPOST_FAKE_{command.upper()}", "")
    if mode == "hang":
        time.sleep(3600)
    if mode == "down":
        sys.stderr.write(f"{command}: error: Unable to contact slurm controller (connect failure)\n")
        return 1
    if mode == "garbage":
        sys.stdout.write("<html>503 Service Unavailable</html>\n")
        return 0
    try:
        answer = COMMANDS[command](sys.argv[1:])
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        return refused.code
    if mode == "lost":
        sys.stderr.write(f"{command}: error: slurm_receive_msg: Socket timed out on send/recv operation\n")
        return 1
    sys.stdout.write(answer[: len(answer) // 2] if mode == "cut" else answer)
    return 0
