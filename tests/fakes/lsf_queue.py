"""An LSF of one JSON file, behind the executables in tests/fakes/openlava (2.2) and tests/fakes/lsf (IBM's, 10.1).

It refuses and misreads what the real ones do, as far as that was measured (openlava) or is in the manual (IBM).
    GLIDEPOST_FAKE_STATE      the file: {"next_id", "jobs": [{"id", "index", "name", "state", ...}], "calls": [[...]]}
    GLIDEPOST_FAKE_BSUB=MODE  (or BJOBS, BKILL, BQUEUES; LSF for all of them) down: the daemons do not answer, and it
                              tries for ever, or as often as LSB_NTRIES says; hang; garbage; cut: a third of the answer;
                              lost: it does what it was asked, and then says that it failed; broken: it begins to list,
                              and fails
    GLIDEPOST_FAKE_PENDING    so many pending batch jobs at most (MAX_PEND_JOBS): bsub waits for ever, or LSB_NTRIES
    GLIDEPOST_FAKE_STRICT     LSB_BJOBS_CONSISTENT_EXIT_CODE=Y
    GLIDEPOST_FAKE_ENHANCED   LSB_BJOBS_DISPLAY_ENH=Y

Nothing starts before a test says so; then scripts are really run, with LSB_STDOUT_DIRECT=Y (sites_lsf.py).
"""

from __future__ import annotations

import fcntl
import getopt
import json
import os
import pwd
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsf_shown import HEADER, HEADER_PENDING, QUEUES, described, line, pending_line, spelled
from lsf_words import Refused, memory_kib, minutes, not_submitted, number, parse, requirement

MAX_JOB_ARRAY_SIZE = 1000
SLOTS = 3
HOST_MB = 16000
UNFINISHED = {"PEND", "PSUSP", "RUN", "USUSP", "SSUSP", "WAIT", "PROV", "UNKWN", "ZOMBI"}


@contextmanager
def queue() -> Iterator[dict[str, Any]]:
    path = Path(os.environ["GLIDEPOST_FAKE_STATE"])
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text()) if path.exists() else {"next_id": 1, "jobs": []}
        state.setdefault("calls", []).append([Path(sys.argv[0]).name, *sys.argv[1:]])
        for job in state["jobs"]:
            if job.get("pid") and not is_alive(job["pid"]):
                job["state"] = "DONE"
        yield state
        path.write_text(json.dumps(state, indent=1))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


def unit() -> str:
    """Returns the letter of LSF_UNIT_FOR_LIMITS, which openlava does not know."""
    conf = Path(os.environ.get("LSF_ENVDIR", "/etc"), "lsf.conf")
    match = re.search(r"^LSF_UNIT_FOR_LIMITS=([KMGT])", conf.read_text(), re.MULTILINE) if conf.exists() else None
    return match[1] if match else ""


def bsub(dialect: str, argv: list[str]) -> str:
    options, command = parse(dialect, argv)
    last = {name: values[-1] for name, values in options.items()}
    first = {name: values[0] for name, values in options.items()}
    counts = first if dialect == "openlava" else last  # of -n, -W and -M
    need = requirement(dialect, options.get("R", []))
    cpus = number(counts.get("n", "1"), "The number of processors must be a positive integer")
    walltime = minutes(counts.get("W", "0"))
    if "c" in first and re.fullmatch(r"(\d+:)?\d+(/[\w.-]+)?", first["c"]) is None:
        raise not_submitted(f"{first['c']}: Bad CPULIMIT specification")
    letter = unit() if dialect == "lsf" else ""
    limit_kib = memory_kib(dialect, counts["M"], letter or "K") if "M" in counts else 0
    if re.fullmatch(r"num=\d+(:\w+=\w+)*", last.get("gpu", "num=1")) is None:
        raise not_submitted(f"{last['gpu']}: Bad GPU requirement")
    script = "" if command else sys.stdin.read()
    if not command and not any(line.strip() and not line.lstrip().startswith("#") for line in script.split("\n")):
        raise not_submitted("No command is specified")
    place = last.get("q", os.environ.get("LSB_DEFAULTQUEUE", "normal"))
    check_queue(place, walltime, cpus)
    if last.get("G", "physics") != "physics":
        raise not_submitted("Bad user group name")
    if dialect == "lsf" and last.get("app", "glidein") != "glidein":
        raise not_submitted(f"{last['app']}: No such application profile")
    name, members = array(last.get("J") or " ".join(command) or script.split("\n")[0])
    reserved_mb = need.usage.get("mem", 0) * (1024 ** "KMGT".index(letter) / 1024 if letter not in {"", "K"} else 1)
    reason = "New job is waiting for scheduling"
    if reserved_mb > HOST_MB or need.usage.get("ngpus", 0) > 4:
        reason = "Job's requirements for reserving resource (mem) not satisfied: 2 hosts"
    with queue() as state:
        wait_for_room(state, len(members))
        job_id = state["next_id"]
        state["next_id"] += 1
        common = {
            "id": job_id,
            "name": name,
            "state": "PSUSP" if "H" in options else "PEND",
            "reason": "The job was suspended by the user while pending" if "H" in options else reason,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "queue": place,
            "output": last.get("o", ""),
            "argv": argv,
            "asked": {"cpus": cpus, "minutes": walltime, "limit_kib": limit_kib, "reserved_mb": reserved_mb},
            "need": [need.select, need.usage],
            "environment": sorted(name for name in os.environ if name.startswith(("LSB_", "BSUB_"))),
        }
        state.setdefault("scripts", {})[str(job_id)] = script or " ".join(command)
        state["jobs"] += [{**common, "index": index} for index in members]
    kind = "queue" if "q" in last or "LSB_DEFAULTQUEUE" in os.environ else "default queue"
    answer = f"Job <{job_id}> is submitted to {kind} <{place}>.\n"
    if "BSUB_STDERR" in os.environ:
        sys.stderr.write(answer)
    return "" if {"BSUB_STDERR", "BSUB_QUIET"} & os.environ.keys() else answer


def check_queue(place: str, walltime: int, cpus: int) -> None:
    if place not in QUEUES:
        raise not_submitted(f"{place}: No such queue")
    status, most_minutes, most_slots, users = QUEUES[place]
    if status.startswith("Closed"):
        raise not_submitted(f"{place}: Queue has been closed")
    if users != "all users":
        raise not_submitted(f"{place}: User cannot use the queue")
    if walltime > most_minutes:
        raise not_submitted("RUNLIMIT: Cannot exceed queue's hard limit(s)")
    if cpus > most_slots:
        raise not_submitted("Too many processors requested")


def array(text: str) -> tuple[str, list[int]]:
    match = re.fullmatch(r"(.*)\[(\d+)-(\d+)\](?:%\d+)?", text)
    if match is None:
        return text, [0]
    if int(match[3]) > MAX_JOB_ARRAY_SIZE:
        raise not_submitted("Job array index too large")
    if not 1 <= int(match[2]) <= int(match[3]):
        raise not_submitted("Job array index error")
    return match[1], list(range(int(match[2]), int(match[3]) + 1))


def wait_for_room(state: dict[str, Any], count: int) -> None:
    most = int(os.environ.get("GLIDEPOST_FAKE_PENDING", "1000000"))
    tries = 0
    while sum(job["state"] in {"PEND", "PSUSP"} for job in state["jobs"]) + count > most:
        tries += 1
        text = f"User <{pwd.getpwuid(os.geteuid()).pw_name}>: Pending job threshold reached."
        if tries >= int(os.environ.get("LSB_NTRIES", "1000000")):
            raise not_submitted(text.rstrip("."))
        sys.stderr.write(f"{text} Retrying in 60 seconds...\n")
        sys.stderr.flush()
        time.sleep(60)


def bjobs(dialect: str, argv: list[str]) -> str:
    options, ids = getopts("bjobs", argv, "VladpsrwWgRAhJ:q:u:m:N:P:S")
    with queue() as state:
        jobs = state["jobs"]
    me = pwd.getpwuid(os.geteuid()).pw_name
    shown = [job for job in jobs if job["user"] == options.get("-u", me) or options.get("-u") == "all"]
    if "-J" in options:
        pattern = re.escape(options["-J"]).replace(r"\*", ".*")
        shown = [job for job in shown if re.fullmatch(pattern, job["name"])]
    states = {"PEND", "PSUSP"} if "-p" in options else UNFINISHED
    shown = [job for job in shown if "-a" in options or job["state"] in states]
    if ids:
        shown = [job for job in shown if {str(job["id"]), spelled(job)} & set(ids)]
    if not shown:
        what = f"Job <{ids[0]}> is not found" if ids else "No unfinished job found"
        what = "No pending job found" if "-p" in options and not ids else what
        quiet = dialect == "lsf" and "GLIDEPOST_FAKE_STRICT" not in os.environ
        raise Refused(what, 0 if quiet else 255 if dialect == "lsf" or ids else 254)
    if "-p" in options:
        return HEADER_PENDING + "".join(pending_line(job) for job in shown)
    if "LSB_BJOBS_FORMAT" in os.environ and dialect == "lsf" and "-w" not in options:
        return "JOBID\n" + "".join(f"{job['id']}\n" for job in shown)
    return HEADER + "".join(line(job, wide="-w" in options) for job in shown)


def signal_jobs(command: str, argv: list[str]) -> str:
    _, words = getopts(command, argv, "VhkSlq:u:m:p:rfs:J:n:ad")
    if not words:
        raise Refused("Job ID or one of '-m', '-u' '-q' and '-J' must be specified.")
    said, failed = [], []
    with queue() as state:
        jobs = {spelled(job): job for job in state["jobs"]}
        for batch_id in (one for word in words for one in expanded(word, jobs)):
            job = jobs.get(batch_id)
            if job is None:
                failed.append(f"Job <{batch_id}>: No matching job found")
            elif job["state"] not in UNFINISHED:
                failed.append(f"Job <{batch_id}>: Job has already finished")
            else:
                said.append(f"Job <{batch_id}> is being {change(command, job)}")
    sys.stdout.write("".join(f"{text}\n" for text in said))
    if failed:
        raise Refused("\n".join(failed))
    return ""


def change(command: str, job: dict[str, Any]) -> str:
    waits = job["state"] in {"PEND", "PSUSP"}
    if command == "bstop":
        job.update(state="PSUSP" if waits else "USUSP", reason="The job was suspended by the user while pending")
        return "stopped"
    if command == "bresume":
        job["state"] = "PEND" if waits else "RUN"
        return "resumed"
    job["state"] = "EXIT"
    job["killed"] = not waits
    return "terminated"


def expanded(word: str, jobs: dict[str, Any]) -> list[str]:
    """Returns the ids that "7", "7[3]" or "7[2-4]" stands for."""
    match = re.fullmatch(r"(\d+)(?:\[(\d+)(?:-(\d+))?\])?", word)
    if match is None:
        raise Refused(f"{word}: Illegal job ID.")
    if match[2]:
        return [f"{match[1]}[{index}]" for index in range(int(match[2]), int(match[3] or match[2]) + 1)]
    return [batch_id for batch_id, job in jobs.items() if job["id"] == int(word)] or [word]


def getopts(command: str, argv: list[str], letters: str) -> tuple[dict[str, str], list[str]]:
    try:
        found, rest = getopt.getopt(argv, letters)
    except getopt.GetoptError as error:
        raise Refused(f"{command}: invalid option -- '{error.opt}'\nUsage: {command} [-h] [-V] ...") from None
    return dict(found), rest


def bqueues(dialect: str, argv: list[str]) -> str:
    options, names = getopts("bqueues", argv, "Vhlwm:u:")
    assert "-l" in options, "the fake knows the long form only"
    for name in names:
        if name not in QUEUES:
            raise Refused(f"{name}: No such queue")
    text = "\n" + "-" * 79 + "\n\n"
    return "\n" + text.join(described(dialect, name) for name in names or QUEUES)


def bparams(argv: list[str]) -> str:
    options, _ = getopts("bparams", argv, "Vhl")
    if "-l" not in options:
        return "Default Queues:  normal\nJob Dispatch Interval:  20 seconds\n"
    return f"The maximum number of jobs in a job array:\n    MAX_JOB_ARRAY_SIZE = {MAX_JOB_ARRAY_SIZE}\n\n"


def answer(dialect: str, command: str, argv: list[str]) -> str:
    if command == "bsub":
        return bsub(dialect, argv)
    if command == "bjobs":
        return bjobs(dialect, argv)
    if command == "bqueues":
        return bqueues(dialect, argv)
    if command == "bparams":
        return bparams(argv)
    if command == "lsid":
        return "openlava 2.2, Jan 1 2014\n" if dialect == "openlava" else "IBM Spectrum LSF Standard 10.1.0.0\n"
    return signal_jobs(command, argv)


def be_down() -> int:
    """Tries to find the daemons, as often as LSB_NTRIES says, with less patience than the real one's 10 s."""
    for _ in range(int(os.environ.get("LSB_NTRIES", "1000000")) - 1):
        sys.stderr.write("LSF daemon (LIM) not responding ... still trying\n")
        sys.stderr.flush()
        time.sleep(0.2)
    sys.stderr.write("Failed in an LSF library call: LIM is down; try later\n")
    return 255


def main(dialect: str, command: str) -> int:
    mode = os.environ.get(f"GLIDEPOST_FAKE_{command.upper()}", os.environ.get("GLIDEPOST_FAKE_LSF", ""))
    if mode == "hang":
        time.sleep(3600)
    if mode == "down":
        return be_down()
    if mode == "garbage":
        sys.stdout.write("<html>503 Service Unavailable</html>\n")
        return 0
    try:
        text = answer(dialect, command, sys.argv[1:])
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        return refused.code
    if mode == "lost":
        sys.stderr.write("Contacting batch daemon: Communication timeout. Job not submitted.\n")
        return 255
    if mode == "broken":
        sys.stdout.write("".join(text.splitlines(keepends=True)[:2]))
        sys.stderr.write("lsb_readjobinfo: Batch library internal error\n")
        return 255
    sys.stdout.write(text[: len(text) // 3] if mode == "cut" else text)
    return 0
