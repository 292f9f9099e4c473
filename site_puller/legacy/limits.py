"""max_total_jobs, max_idle_jobs and limit_per_submit, which limited what the site's own pipes counted."""

from __future__ import annotations

from . import counting
from .counting import Count
from .model import Draft, Findings, Settings, Verdict
from .values import bounded

_TOTAL = 1000
_IDLE = 1000
_PER_PASS = 50


def apply(settings: Settings, draft: Draft, findings: Findings) -> None:
    """Adds the limits of a partition to its draft; one of 0 or less switches the shape off."""
    total = settings.number("max_total_jobs", _TOTAL)
    idle = settings.number("max_idle_jobs", _IDLE)
    per_pass = settings.number("limit_per_submit", _PER_PASS)
    zero = [
        key
        for key, number in (("max_total_jobs", total), ("max_idle_jobs", idle), ("limit_per_submit", per_pass))
        if number <= 0
    ]
    if zero and not draft.off:
        draft.off = f"switched off by {zero[0]} = 0"
    for key in zero:
        settings.say(key, Verdict.TRANSLATED, "0 switched the partition off: its shape is commented out")
    count = counting.read(settings.text("running_cmd"))
    draft.counted_by = count.text
    _said_of_commands(settings, count, findings, draft)
    if count.kind == counting.CORES:
        _in_cores(settings, draft, total, idle)
    else:
        _in_glideins(settings, draft, total, idle, running=count.kind == counting.RUNNING)
    draft.table["max_per_cycle"] = bounded(per_pass)
    settings.say("limit_per_submit", Verdict.KEPT, f"max_per_cycle = {bounded(per_pass)}")


def _in_glideins(settings: Settings, draft: Draft, total: int, idle: int, *, running: bool) -> None:
    table = draft.table
    has_idle = settings.has("idle_cmd")
    # Without idle_cmd, pyglidein's limit of queued ones held for one pass only; the site's word is taken for what it
    # says. Its default of 1000 is nobody's word.
    limits_idle = settings.has("max_idle_jobs")
    most = bounded(total + idle if running and limits_idle else total)
    table["max_total"] = most
    if running:
        table["max_running"] = bounded(total)
        settings.say(
            "max_total_jobs", Verdict.TRANSLATED, f"max_running = {bounded(total)}, as it counted running ones"
        )
    else:
        settings.say("max_total_jobs", Verdict.KEPT, f"max_total = {most}")
    if limits_idle and idle < most:
        table["max_queued"] = bounded(idle)
        settings.say("max_idle_jobs", Verdict.KEPT, f"max_queued = {bounded(idle)}")
    else:
        settings.say("max_idle_jobs", Verdict.OBSOLETE, "not below the limit of all, so it limited nothing")
    if not has_idle and settings.has("max_idle_jobs"):
        settings.say("max_idle_jobs", Verdict.BUG, "without idle_cmd it held for one pass only; now it holds")
    wish = settings.number("max_running_jobs", 0)
    if wish > 0:
        table["max_running"] = min(bounded(wish), most)
        settings.say(
            "max_running_jobs", Verdict.BUG, f"pyglidein never read it; now max_running = {table['max_running']}"
        )


def _in_cores(settings: Settings, draft: Draft, total: int, idle: int) -> None:
    """A glidein was submitted as long as one core was left, so the limit of cores is rounded up to whole glideins."""
    table = draft.table
    cpus = int(str(table["cpus"]))
    each = 1 if table.get("fit") else cpus
    most = bounded(-(-total // each))
    table["max_total"] = most
    table["max_cpus"] = bounded(max(total, most * each, cpus), most=10_000_000)
    text = f"cores, not batch jobs: max_cpus = {table['max_cpus']} and max_total = {most}"
    settings.say("max_total_jobs", Verdict.TRANSLATED, text)
    queued = bounded(-(-idle // each))
    if queued < most:
        table["max_queued"] = queued
    settings.say("max_idle_jobs", Verdict.TRANSLATED, f"cores, not batch jobs: max_queued = {queued}")
    wish = settings.number("max_running_jobs", 0)
    if wish > 0:
        table["max_running"] = min(bounded(-(-wish // each)), most)
        text = f"pyglidein never read it; now max_running = {table['max_running']} (it was meant in cores)"
        settings.say("max_running_jobs", Verdict.BUG, text)


def _said_of_commands(settings: Settings, count: Count, findings: Findings, draft: Draft) -> None:
    if not settings.has("running_cmd"):
        what = f"[shapes.{draft.name}] had no running_cmd, so pyglidein could not run it; Glidepost counts by itself"
        findings.note(draft.file, what)
        return
    for key in ("running_cmd", "idle_cmd"):
        read = counting.read(settings.text(key))
        words = (
            [f"Glidepost counts by itself; {count.words}"] if key == "running_cmd" else ["Glidepost counts by itself"]
        )
        if len(read.users) > 1:
            words.append(
                f"it counted those of {' and '.join(read.users)} together; now only what this puller submitted counts,"
                " so divide the limits if both accounts run one"
            )
        settings.say(key, Verdict.BUG if read.faults else Verdict.TRANSLATED, "; ".join((*words, *read.faults)))
