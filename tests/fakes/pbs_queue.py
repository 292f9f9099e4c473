"""An OpenPBS 23.06 of one JSON file, behind the executables in tests/fakes/pbs; pbs_family.py says what steers it.

What it takes, 23.06 took or its source says so; its refusals have their words and exit codes. A node of 4 cores, 16 GB
and 2 GPUs. Queues: workq (the default, a week at most), short (an hour), closed (not enabled), stopped (not started).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from pbs_family import SERVER, Job, Refused, State, guard_limit, kill, parse, queue, run, start, user
from pbs_requests import QSUB, USAGE, checked, chunk, indices, never, resources, walltime

QUEUES = {"workq": (7 * 86400, True, True), "short": (3600, True, True), "closed": (3600, False, True)}
QUEUES["stopped"] = (3600, True, False)
MAX_ARRAY_SIZE = 10000


def qsub(argv: list[str]) -> str:
    given, operands = parse("qsub", argv, QSUB, USAGE)
    options = checked(given)
    asked = resources(value for option, value in given if option == "-l")
    members: list[Optional[int]] = [*indices(options["J"])] if "J" in options else [None]
    if operands and not Path(operands[0]).is_file():
        raise Refused("qsub: script file:: No such file or directory", 1)
    script = Path(operands[0]).read_text() if operands else sys.stdin.buffer.read().decode()
    wants = chunk(asked.get("select", "1"))
    name = options.get("q", "workq")
    if name not in QUEUES:
        raise Refused("qsub: Unknown queue", 170)
    longest, enabled, _ = QUEUES[name]
    if not enabled:
        raise Refused("qsub: Queue is not enabled", 173)
    if walltime(asked.get("walltime", "0")) > longest:
        raise Refused("qsub: Job violates queue and/or server resource limits", 188)
    if len(members) > MAX_ARRAY_SIZE:
        raise Refused("qsub: Array job exceeds server or queue size limit", 3)
    with queue("qsub") as state:
        alive(state)
        guard_limit(state, len(members), "qsub: would exceed complex's per-user limit", 38)
        number = state["next_id"]
        state["next_id"] += 1
        common = {
            "name": options.get("N", "STDIN"),
            "owner": f"{user()}@{SERVER}",
            "state": "H" if "h" in options else "Q",
            "queue": name,
            "comment": never(wants),
            "argv": argv,
            "script": script,
            "shell": options.get("S", "/bin/sh"),
            "keep": options.get("k", "n"),
            "ncpus": int(wants.get("ncpus", "1")),
            "environment": sorted(os.environ),
        }
        path = options.get("o", f"STDIN.o{number}")
        for index in members:
            place = f"{number}" if index is None else f"{number}[{index}]"
            output = path.replace("^array_index^", str(index))
            state["jobs"].append({"id": f"{place}.{SERVER}", "array": index, "output": output, **common})
    return f"{number}{'' if members == [None] else '[]'}.{SERVER}\n"


def alive(state: State) -> None:
    if state.get("crashed"):
        raise Refused(f"pbs_server has crashed: {state['crashed']}", 162)
    # What has ended is forgotten; of an array, when all of it has.
    for job in state["jobs"]:
        if job["state"] == "ended":
            job["state"] = "F" if job["array"] is None else "X"
    live = {parent(job) for job in state["jobs"] if job["state"] not in {"F", "X"}}
    state["jobs"] = [job for job in state["jobs"] if parent(job) in live]


def parent(job: Job) -> str:
    return re.sub(r"\[\d+\]", "[]", job["id"])


def shown(job: Job, more: dict[str, Any]) -> dict[str, Any]:
    held = {"Hold_Types": "u" if job["state"] == "H" else "n"}
    said = {"comment": job["comment"]} if job["comment"] else {}
    variables = {"PBS_O_HOME": "/home/x", "PBS_O_WORKDIR": "/home/x"}
    listed = {"Job_Name": job["name"], "Job_Owner": job["owner"], "job_state": job["state"], "queue": job["queue"]}
    return {**listed, "server": SERVER, **held, "Variable_List": job.get("variables", variables), **said, **more}


def listing(state: State, *, expand: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for job in state["jobs"]:
        if job["array"] is not None and parent(job) not in found:
            states = [other["state"] for other in state["jobs"] if parent(other) == parent(job)]
            counts = {
                word: states.count(letter) for word, letter in (("Queued", "Q"), ("Running", "R"), ("Expired", "X"))
            }
            first = "B" if {"R", "X"} & set(states) else states[0]
            text = f"Queued:{counts['Queued'] + states.count('H')} Running:{counts['Running']} Exiting:0"
            more = {"array": "True", "array_state_count": f"{text} Expired:{counts['Expired']}"}
            found[parent(job)] = shown({**job, "state": first}, more)
        if job["array"] is None or expand:
            found[job["id"]] = shown(job, {} if job["array"] is None else {"array_index": job["array"]})
    return found


def written(key: str, value: Any, indent: int) -> Iterator[str]:
    """Yields the lines of PBS's own JSON writer, which writes what looks like a number as it is."""
    blanks = " " * indent
    if isinstance(value, dict):
        yield f'{blanks}"{key}":{{'
        parts = [list(written(name, inner, indent + 4)) for name, inner in value.items()]
        for number, lines in enumerate(parts):
            yield from lines[:-1]
            yield lines[-1] + ("," if number < len(parts) - 1 else "")
        yield f"{blanks}}}"
        return
    text = str(value)
    is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf", text) and (
        text[0] != "0" or float(text) < 1
    )
    quoted = text if is_number else '"' + re.sub(r'(?<=[^\\])"', r"\"", text) + '"'
    yield f'{blanks}"{key}":{quoted}'


def document(jobs: dict[str, Any]) -> str:
    head = {"timestamp": 1795338781, "pbs_version": "23.06.06", "pbs_server": SERVER}
    body = {**head, "Jobs": jobs} if jobs else head
    parts = ["\n".join(written(key, value, 4)) for key, value in body.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def qstat(argv: list[str]) -> str:
    given, _ = parse("qstat", argv, "aeGhHiJLMnpQqrsu:tTwxBE1F:D:fW:", "usage:\n\tqstat [-f] [-J] [-p] [-t] [-x]")
    options = dict(given)
    with queue("qstat") as state:
        alive(state)
        if "-Q" in options:
            return "".join(described(name) for name in QUEUES)
        if "-B" in options:
            return f"Server: {SERVER}\n    server_state = Active\n    default_queue = workq\n" + server_rest()
        if "-f" not in options or options.get("-F", "").lower() != "json":
            raise Refused("the fake knows qstat -f -F json only", 2)
        return document(listing(state, expand="-t" in options))


def described(name: str) -> str:
    longest, enabled, started = QUEUES[name]
    limits = f"    resources_max.walltime = {longest // 3600:02d}:00:00\n"
    opened = f"    enabled = {enabled}\n    started = {started}\n"
    return f"Queue: {name}\n    queue_type = Execution\n    total_jobs = 0\n{limits}{opened}\n"


def pbsnodes(argv: list[str]) -> str:
    parse("pbsnodes", argv, "a", "usage: pbsnodes [-a]")
    resources = f"     resources_available.mem = {16 << 20}kb\n     resources_available.ncpus = 4\n"
    return f"{SERVER}\n     Mom = {SERVER}\n     state = free\n     resources_available.host = {SERVER}\n{resources}\n"


def server_rest() -> str:
    return f"    max_array_size = {MAX_ARRAY_SIZE}\n    pbs_version = 23.06.06\n\n"


def qselect(argv: list[str]) -> str:
    letters = "a:A:c:h:HJl:N:p:P:q:r:s:t:Tu:x"
    given, operands = parse("qselect", argv, letters, "usage: qselect [-a [op]date_time] [-A account_string]")
    options = dict(given)
    if operands or not re.fullmatch("[EHQRTWSUBFMX]*", options.get("-s", "")):
        raise Refused("qselect: illegal -s value", 2)
    wanted = options.get("-s", "QRHWTESU")
    with queue("qselect") as state:
        alive(state)
        found = [job for job in state["jobs"] if job["state"] in wanted]
        found = [job for job in found if options.get("-N", job["name"]) == job["name"]]
        ids = [job["id"] if "-T" in options else parent(job) for job in found]
    return "".join(f"{job_id}\n" for job_id in dict.fromkeys(ids))


def expanded(operand: str) -> list[str]:
    match = re.fullmatch(r"(\d+)\[(\d+)-(\d+)\](\..*)", operand)
    if match is None:
        return [operand]
    return [f"{match[1]}[{index}]{match[4]}" for index in range(int(match[2]), int(match[3]) + 1)]


def qdel(argv: list[str]) -> str:
    _, operands = parse("qdel", argv, "W:x", "usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...")
    if not operands:
        raise Refused("usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...", 2)
    problems = []
    with queue("qdel") as state:
        alive(state)
        if len({bool(re.search(r"\[\d", operand)) for operand in operands}) > 1:
            state["crashed"] = "one qdel had members of arrays and whole batch jobs"
            raise Refused("qdel: End of File", 162)
        for operand in [one for given in operands for one in expanded(given)]:
            doomed = [job for job in state["jobs"] if operand in {job["id"], parent(job)} and job["state"] not in "FX"]
            if not doomed:
                problems.append(f"qdel: Unknown Job Id {operand}")
            for job in doomed:
                kill(job)
                job["state"] = "ended"
        alive(state)
    if problems:
        raise Refused("\n".join(problems), 153)
    return ""


def change(command: str, argv: list[str], old: str, new: str) -> str:
    _, operands = parse(command, argv, "h:", f"usage: {command} [-h hold_list] job_identifier...")
    with queue(command) as state:
        alive(state)
        for operand in operands:
            if re.search(r"\[\d", operand):
                raise Refused(f"{command}: Invalid request {operand}", 156)
            for job in state["jobs"]:
                if operand == parent(job) and job["state"] == old:
                    job["state"] = new
    return ""


def qrun(argv: list[str]) -> str:
    with queue("qrun") as state:
        alive(state)
        for job in state["jobs"]:
            if job["id"] in argv and job["state"] == "Q":
                more = {
                    "NCPUS": str(job["ncpus"]),
                    "OMP_NUM_THREADS": str(job["ncpus"]),
                    "PBS_ENVIRONMENT": "PBS_BATCH",
                }
                if job["array"] is not None:
                    more |= {"PBS_ARRAY_INDEX": str(job["array"]), "PBS_ARRAY_ID": parent(job)}
                start(job, more, spool=not job["keep"].endswith("d"))
        begun = {parent(job) for job in state["jobs"] if job["array"] is not None and job["state"] == "R"}
        for job in state["jobs"]:
            if parent(job) in begun and job["state"] == "Q":
                job["comment"] = "Job Array Began at Sun Nov 22 at 09:00"  # the scheduler says no more, then
            elif job["state"] == "Q" and not job["comment"]:
                job["comment"] = "Not Running: Insufficient amount of resource: ncpus (R: 1 A: 0 T: 4)"
    return ""


def down(command: str, argv: list[str]) -> Refused:
    refused = f"Connection refused\n{command}: cannot connect to server {SERVER} (errno=15010)"
    if command == "qstat":
        return Refused(refused, 255, document({}) if "json" in argv else "")
    return Refused(refused, 162)


def main(command: str) -> int:
    commands = {"qsub": qsub, "qstat": qstat, "qselect": qselect, "qdel": qdel, "qrun": qrun, "pbsnodes": pbsnodes}
    commands |= {
        "qhold": lambda argv: change("qhold", argv, "Q", "H"),
        "qrls": lambda argv: change("qrls", argv, "H", "Q"),
    }
    return run(command, commands, down)
