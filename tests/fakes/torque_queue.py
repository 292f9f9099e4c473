"""A Torque 6.1.3 of one JSON file, behind the executables in tests/fakes/torque; pbs_family.py says what steers it.

What it takes, 6.1.3 took or its source says so; its refusals have their words and exit codes, and it ignores what the
real one ignores (`-l select`). What has ended stays listed in state C. Queues: batch (the default, a week at most),
short (an hour), closed (not enabled).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from pbs_family import SERVER, Job, Refused, State, guard_limit, kill, parse, queue, run, start, user

QSUB = "a:A:b:c:C:d:D:e:EfF:hi:Ij:J:k:K:l:L:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:xXz"
USAGE = "usage: qsub [-a date_time] [-A account_string] [-b secs]\n    [-c [ none | { enabled | periodic | shutdown |"
QUEUES = {"batch": (7 * 86400, True), "short": (3600, True), "closed": (3600, False)}
SIZES = {"mem", "pmem", "vmem", "pvmem", "file"}
# `select` is taken, and means nothing.
RESOURCES = SIZES | {"nodes", "walltime", "cput", "ncpus", "procs", "qos", "feature", "gres", "nice", "select"}
PATTERNS = {
    "N": r"\S{1,230}",
    "S": r"/[^\s,]+",
    "j": "oe|eo|n",
    "k": "n|[oe]{1,2}",
    "m": "n|[abef]+",
    "r": "[yn]",
}


def usage(text: str) -> Refused:
    return Refused(f"[{text}]\n\n{USAGE}", 2)


def submit_error(text: str, code: int) -> Refused:
    return Refused(f"qsub: submit error ({text})", code)


def seconds(text: str) -> int:
    if not re.fullmatch(r"\d+(:\d+){0,3}", text):
        raise submit_error("Illegal attribute or resource value for  Resource_List.walltime", 168)
    days, hours, minutes, rest = (int(part) for part in f"0:0:0:{text}".split(":")[-4:])
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def resources(values: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            name, equals, amount = part.partition("=")
            if not name or not equals or not amount:
                raise usage("qsub: illegal -l value")
            if name not in RESOURCES:
                raise submit_error(f"Unknown resource type  Resource_List.{name}", 189)
            if name in SIZES and not re.fullmatch(r"\d+[kmgt]?[bw]?", amount):
                raise submit_error(f"Illegal attribute or resource value for  Resource_List.{name}", 168)
            found[name] = amount
    if not re.fullmatch(r"\d+(:ppn=\d+)?(:gpus=\d+)?(:[a-z]\w*)*", found.get("nodes", "1")):
        raise submit_error("Illegal attribute or resource value for  Resource_List.nodes", 168)
    return found


def checked(given: list[tuple[str, str]]) -> dict[str, str]:
    options = {option[1:]: value for option, value in given}
    for name, pattern in PATTERNS.items():
        if name in options and not re.fullmatch(pattern, options[name]):
            raise usage(f"qsub: illegal -{name} value")
    if "J" in options and "P" not in options:
        raise usage("The -J option can only be used in conjunction with -P")
    if "P" in options:
        raise submit_error("Unauthorized Request  MSG=user is not allowed to submit as another", 159)
    return options


def indices(text: str) -> list[int]:
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise submit_error("Bad Job Array Request", 235)
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def qsub(argv: list[str]) -> str:
    given, operands = parse("qsub", argv, QSUB, f"[exiting]\n\n{USAGE}")
    options = checked(given)
    asked = resources(value for option, value in given if option == "-l")
    members: list[Optional[int]] = [*indices(options["t"])] if "t" in options else [None]
    if operands and not Path(operands[0]).is_file():
        raise Refused(f"qsub: script file '{operands[0]}' cannot be loaded - No such file or directory", 1)
    script = Path(operands[0]).read_text() if operands else sys.stdin.buffer.read().decode()
    name = options.get("q", "batch")
    if name not in QUEUES:
        raise submit_error("Unknown queue MSG=requested queue not found", 172)
    longest, enabled = QUEUES[name]
    if not enabled:
        raise submit_error(f"Queue is not enabled MSG=queue is disabled: user {user()}@{SERVER}, queue {name}", 175)
    if seconds(asked.get("walltime", "0")) > longest:
        text = "Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement"
        raise submit_error(text, 190)
    with queue("qsub") as state:
        settle(state)
        full = "qsub: submit error (Maximum number of jobs already in queue for user MSG=total number of current jobs)"
        guard_limit(state, len(members), full, 228)
        number = state["next_id"]
        state["next_id"] += 1
        ppn = re.search(r":ppn=(\d+)", asked.get("nodes", ""))
        common = {
            "owner": f"{user()}@{SERVER}",
            "state": "H" if "h" in options else "Q",
            "queue": name,
            "comment": "",
            "argv": argv,
            "script": script,
            "shell": options.get("S", "/bin/sh"),
            "ppn": ppn[1] if ppn else "1",
            "walltime": str(seconds(asked.get("walltime", "0"))),
            "environment": sorted(os.environ),
        }
        for index in members:
            # Names and files of an array's members have their number behind them.
            place, tail = (f"{number}", "") if index is None else (f"{number}[{index}]", f"-{index}")
            path = f"{options.get('o', f'STDIN.o{number}')}{tail}"
            own = {"id": f"{place}.{SERVER}", "name": f"{options.get('N', 'STDIN')}{tail}", "array": index}
            state["jobs"].append({**own, "output": path, **common})
    return f"{number}{'' if members == [None] else '[]'}.{SERVER}\n"


def settle(state: State) -> None:
    for job in state["jobs"]:
        if job["state"] == "ended":
            job["state"] = "C"


def parent(job: Job) -> str:
    return re.sub(r"\[\d+\]", "[]", job["id"])


def element(name: str, value: str) -> str:
    for letter, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        value = value.replace(letter, escaped)
    return f"<{name}>{value}</{name}>"


def described(job: Job) -> str:
    parts = {"Job_Id": job["id"], "Job_Name": job["name"], "Job_Owner": job["owner"], "job_state": job["state"]}
    parts |= {"queue": job["queue"], "server": SERVER, "Hold_Types": "u" if job["state"] == "H" else "n"}
    parts |= {"Output_Path": f"{SERVER}:{job['output']}"}
    nested = "<Resource_List><nodes>1:ppn=1</nodes><walltime>00:30:00</walltime></Resource_List>"
    comment = element("comment", job["comment"]) if job["comment"] else ""
    return f"<Job>{''.join(element(name, value) for name, value in parts.items())}{nested}{comment}</Job>"


def qstat(argv: list[str]) -> str:
    usage_text = "usage: \n    qstat [-f [-1]] [-W site_specific] [-x] [ job_identifier... | destination... ]"
    given, _ = parse("qstat", argv, "aef1ilnqrstu:xBGMQRW:", usage_text)
    options = dict(given)
    with queue("qstat") as state:
        settle(state)
        if "-Q" in options:
            return "".join(queue_text(name) for name in QUEUES)
        if "-B" in options:
            return (
                f"Server: {SERVER}\n    server_state = Active\n    default_queue = batch\n    pbs_version = 6.1.3\n\n"
            )
        if "-x" not in options:
            raise Refused("the fake knows qstat -x only", 2)
        jobs = state["jobs"]
        if "-t" not in options:
            jobs = [{**job, "id": parent(job)} for job in jobs if job["array"] in {None, 1}]
        return f"<Data>{''.join(map(described, jobs))}</Data>\n" if jobs else ""


def queue_text(name: str) -> str:
    longest, enabled = QUEUES[name]
    limits = f"    resources_max.walltime = {longest // 3600:02d}:00:00\n    mtime = 1795338781\n"
    opened = f"    enabled = {enabled}\n    started = True\n"
    return f"Queue: {name}\n    queue_type = Execution\n    total_jobs = 0\n{limits}{opened}\n"


def pbsnodes(argv: list[str]) -> str:
    parse("pbsnodes", argv, "a", "usage: pbsnodes [-a]")
    status = f"     status = opsys=linux,ncpus=4,physmem={16 << 20}kb,availmem=1kb\n"
    return f"{SERVER}\n     state = free\n     np = 4\n     ntype = cluster\n{status}     mom_service_port = 15002\n\n"


def qselect(argv: list[str]) -> str:
    letters = "a:A:c:e:E:f:h:l:N:p:q:r:s:u:"
    given, operands = parse("qselect", argv, letters, "usage: qselect [-a [op]date_time] [-A account_string]")
    options = dict(given)
    if operands or not re.fullmatch("[EHQRTWSC]*", options.get("-s", "")):
        raise Refused("qselect: illegal -s value", 2)
    wanted = options.get("-s", "QRHWTESC")
    with queue("qselect") as state:
        settle(state)
        found = [job for job in state["jobs"] if job["state"] in wanted]
        return "".join(f"{job['id']}\n" for job in found if options.get("-N", job["name"]) == job["name"])


def qdel(argv: list[str]) -> str:
    usage_text = "usage: qdel [{ -a | -c | -p | -t | -W delay | -m message}] [<JOBID>[<JOBID>]|'all'|'ALL']..."
    _, operands = parse("qdel", argv, "acm:pW:t:", usage_text)
    if not operands:
        raise Refused(usage_text, 2)
    problems: list[tuple[str, int]] = []
    with queue("qdel") as state:
        settle(state)
        for operand in operands:
            named = [job for job in state["jobs"] if operand in {job["id"], parent(job)}]
            doomed = [job for job in named if job["state"] != "C"]
            if not named:
                problems.append((f"qdel: Unknown Job Id Error {operand}", 153))
            elif not doomed:
                problems.append(
                    (f"qdel: Request invalid for state of job MSG=invalid state for job - COMPLETE {operand}", 170)
                )
            for job in doomed:
                kill(job)
                job["state"] = "C"
    if problems:
        raise Refused("\n".join(text for text, _ in problems), problems[-1][1])
    return ""


def change(command: str, argv: list[str], old: str, new: str) -> str:
    _, operands = parse(command, argv, "h:t:", f"usage: {command} [-h hold_list] [-t array_range] job_identifier...")
    with queue(command) as state:
        settle(state)
        for job in state["jobs"]:
            if {job["id"], parent(job)} & set(operands) and job["state"] == old:
                job["state"] = new
    return ""


def qrun(argv: list[str]) -> str:
    with queue("qrun") as state:
        settle(state)
        for job in state["jobs"]:
            if job["id"] in argv and job["state"] == "Q":
                more = {"PBS_NP": job["ppn"], "PBS_NUM_PPN": job["ppn"], "PBS_WALLTIME": job["walltime"]}
                more |= {} if job["array"] is None else {"PBS_ARRAYID": str(job["array"])}
                start(job, more, spool=True)
            elif job["state"] == "Q":
                job["comment"] = "Not Running: Draining system to allow starving job to run"
    return ""


def down(command: str, argv: list[str]) -> Refused:  # noqa: ARG001 - PBS looks at it
    return Refused(f"{command}: cannot connect to server {SERVER} (errno=111) Connection refused", 145)


def main(command: str) -> int:
    commands = {"qsub": qsub, "qstat": qstat, "qselect": qselect, "qdel": qdel, "qrun": qrun, "pbsnodes": pbsnodes}
    commands |= {
        "qhold": lambda argv: change("qhold", argv, "Q", "H"),
        "qrls": lambda argv: change("qrls", argv, "H", "Q"),
    }
    return run(command, commands, down)
