"""What bjobs and bqueues print, column for column: as openlava 2.2 does, and IBM's LSF 10.1 where it differs."""

from __future__ import annotations

import os
from typing import Any

# Name: what bqueues says of it, the most minutes, the most slots, who may use it.
QUEUES = {
    "normal": ("Open:Active", 43200, 8, "all users"),
    "short": ("Open:Active", 60, 8, "all users"),
    "closed": ("Closed:Active", 1440, 8, "all users"),
    "idle": ("Open:Inact_Adm", 1440, 8, "all users"),
    "admins": ("Open:Active", 1440, 8, "lsfadmin"),
}
HEADER = "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME\n"
HEADER_PENDING = "JOBID   USER    STAT  QUEUE       FROM_HOST      JOB_NAME           SUBMIT_TIME\n"


def spelled(job: dict[str, Any]) -> str:
    return f"{job['id']}[{job['index']}]" if job["index"] else str(job["id"])


def name_of(job: dict[str, Any]) -> str:
    return f"{job['name']}[{job['index']}]" if job["index"] else str(job["name"])


def line(job: dict[str, Any], *, wide: bool) -> str:
    name = name_of(job)
    batch_id = spelled(job) if "GLIDEPOST_FAKE_ENHANCED" in os.environ else str(job["id"])
    if wide:
        host = "   -    " if job["state"] in {"PEND", "PSUSP"} else job.get("host", "node01")
        return (
            f"{batch_id:<7} {job['user']:<7} {job['state']:<5.5} {job['queue']:<10} {'login01':<11}"
            f" {host:<11} {name:<10} Nov 22 15:07\n"
        )
    host = "" if job["state"] in {"PEND", "PSUSP"} else job.get("host", "node01")
    return (
        f"{batch_id:<7} {job['user']:<7.7} {job['state']:<5.5} {job['queue']:<10.10} {'login01':<11.11} {host:<11.11}"
        f" {cut(name, 10):<10.10} Nov 22 15:07\n"
    )


def pending_line(job: dict[str, Any]) -> str:
    return (
        f"{job['id']:<7} {job['user']:<7.7} {job['state']:<5.5} {job['queue']:<11.11} {'login01':<14.14}"
        f" {cut(name_of(job), 18):<18.18} Nov 22 15:07\n {job['reason']};\n"
    )


def cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"*{name[-(most - 1) :]}"


def described(dialect: str, name: str) -> str:
    status, most_minutes, most_slots, users = QUEUES[name]
    slots = "PROCLIMIT" if dialect == "openlava" else "TASKLIMIT"
    memory = "16384000 K" if dialect == "openlava" else "15.6 G"
    default = "  This is the default queue.\n" if name == "normal" else "\n"
    return (
        f"QUEUE: {name}\n  -- For the {name} ones.{default}\nPARAMETERS/STATISTICS\n"
        "PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV\n"
        f" 30   20  {status:<15}   -    -    -    -     0     0     0     0     0    0\n"
        f"\n {'RUNLIMIT':<24} {slots:<24}\n {f'{most_minutes:.1f} min':<24} 1 {most_slots}\n"
        f" MEMLIMIT\n {memory}\n\nSCHEDULING PARAMETERS\n"
        "           r15s   r1m  r15m   ut      pg    io   ls    it    tmp    swp    mem\n"
        " loadSched   -     -     -     -       -     -    -     -     -      -      -  \n\n"
        f"USERS:  {users}\nHOSTS:  all hosts used by the LSF Batch system\n"
    )
