"""A parsed pyglidein configuration becomes the draft of a site: one shape for each partition, and what they share."""

from __future__ import annotations

from collections.abc import Mapping

from . import shapes, site, values
from .family import Family
from .known import CLUSTER_KEYS, KNOWN, SECTIONS, SUBMIT_KEYS
from .model import Entry, Findings, Settings, SiteDraft, Verdict
from .parse import Ini


def translate(ini: Ini, findings: Findings) -> SiteDraft:
    """Returns the draft of a puller.toml with the same intent. Each entry gets its verdict in `findings`."""
    sections = {name: {**ini.defaults, **table} for name, table in ini.sections.items()}
    draft = SiteDraft(ini.file, entries=ini.entries)
    cluster = Settings(findings, _without_submit(ini.section("Cluster")), ini.defaults)
    family = _scheduler(cluster, sections, ini.file, findings)
    site.apply(sections, draft, findings)
    submit = {key: entry for key, entry in sections.get("SubmitFile", {}).items() if key in SUBMIT_KEYS}
    enabled = _enabled(cluster)
    inactive = [
        name for name in ini.sections if name not in enabled and name not in SECTIONS and _is_partition(ini, name)
    ]
    for name in (*enabled, *inactive):
        own = _without_submit(ini.section(name)) if name != "Cluster" else {}
        suffix = " (commented out: not among partitions)" if name in inactive else ""
        settings = Settings(findings, own, _without_submit(ini.section("Cluster")), submit, ini.defaults, suffix=suffix)
        made = shapes.drafts(settings, family, _shape_name(name, settings), ini.file, findings)
        for shape in made:
            if name in inactive:
                shape.off = "not among the old file's partitions"
            elif name not in ini.sections:
                shape.off = f"the old file has no section [{name}]"
                findings.note(ini.file, f"there is no section [{name}], so pyglidein could not run it")
            if name not in {shape.name, "Cluster"}:
                findings.note(ini.file, f"partition {name!r} is called {shape.name!r} now")
        draft.shapes += made
        if name not in inactive:
            site.prefer(settings, draft)
        _said_elsewhere(settings)
    if family.backend == "htcondor":
        _not_indented(sections.get("SubmitFile", {}), draft, findings)
    _unsaid(cluster, draft, family, findings)
    _leftovers(ini, findings)
    return draft


def _scheduler(cluster: Settings, sections: Mapping[str, Mapping[str, Entry]], file: str, findings: Findings) -> Family:
    """Returns the batch system; one that nobody knows is guessed from the commands that the file names."""
    family = shapes.FAMILIES.get(cluster.text("scheduler").lower())
    if family is None:
        family = shapes.FAMILIES[_guess(sections)]
        text = f"not one of {', '.join(shapes.FAMILIES)}; taken for {family.backend}: change backend if it is not"
        cluster.say("scheduler", Verdict.UNKNOWN, text)
        if not cluster.has("scheduler"):
            findings.note(file, f"no scheduler in [Cluster]: taken for {family.backend}, from its commands")
    else:
        cluster.say("scheduler", Verdict.TRANSLATED, f"backend = {family.backend!r}")
    return family


def _without_submit(table: Mapping[str, Entry]) -> dict[str, Entry]:
    return {key: entry for key, entry in table.items() if key not in SUBMIT_KEYS}


def _enabled(cluster: Settings) -> list[str]:
    """Returns the partitions in use, in their order, which was the order of submission."""
    value = cluster.value("partitions")
    if value is None:
        return ["Cluster"]
    words = value if isinstance(value, (list, tuple)) else str(value).split(",")
    names = list(dict.fromkeys(name for name in (str(word).strip() for word in words) if name))
    cluster.say("partitions", Verdict.TRANSLATED, f"one shape for each of {', '.join(names)[:200]}")
    return names or ["Cluster"]


def _is_partition(ini: Ini, name: str) -> bool:
    return any(key in CLUSTER_KEYS for key in ini.section(name))


def _shape_name(name: str, settings: Settings) -> str:
    if name != "Cluster":
        return values.slug(name, default="shape")
    if bool(settings.value("gpu_only")) == bool(settings.value("cpu_only")):
        return "main"
    return "gpu" if settings.value("gpu_only") else "cpu"


def _guess(sections: Mapping[str, Mapping[str, Entry]]) -> str:
    """Returns the scheduler whose commands a file names; Slurm if it names none."""
    text = " ".join(entry.text for table in sections.values() for entry in table.values())
    signs = (("sbatch", "slurm"), ("condor_", "htcondor"), ("bsub", "lsf"), ("qstat -xml", "uge"), ("qsub", "pbs"))
    return next((name for word, name in signs if word in text), "slurm")


def _said_elsewhere(settings: Settings) -> None:
    """Says of keys that need no translation why they do not."""
    if settings.has("cleanup") and not settings.flag("cleanup"):
        for key in ("cleanup", "dir_cleanup"):
            settings.say(key, Verdict.OBSOLETE, "off; each glidein removes its own scratch")
    settings.say("group_jobs", Verdict.OBSOLETE, "several at once are an array wherever the batch system has arrays")
    users = settings.text("user")
    if users:
        settings.say("user", Verdict.OBSOLETE, "the puller asks for the batch jobs of whoever runs it")


def _not_indented(table: Mapping[str, Entry], draft: SiteDraft, findings: Findings) -> None:
    """Reads lines of a submit file that were meant to go on with custom_middle, but became keys of their own."""
    for key, entry in table.items():
        if key in SUBMIT_KEYS or not (
            key.startswith("+") or key.lower() in {"requirements", "rank", "accounting_group"}
        ):
            continue
        line = values.shown(key, f"{key} = {entry.text}")
        text = "the line was not indented, so it was a key that pyglidein never read, not a line of the submit file"
        findings.say(entry, Verdict.BUG, f"{text}; written as a comment")
        for shape in draft.shapes:
            shape.lines.append(f"for the options, lines or requirements: {line}")


def _unsaid(cluster: Settings, draft: SiteDraft, family: Family, findings: Findings) -> None:
    """Names bugs of pyglidein that a site was living with and that no key of its file shows."""
    live = [shape for shape in draft.shapes if not shape.off]
    if not cluster.has("prioritize_jobs") and "prefer" not in draft.site:
        text = 'pyglidein\'s default put "gpu" first, without effect; [site] prefer begins with gpus, with effect'
        findings.note(draft.file, text)
    if len(_enabled(cluster)) > 1:
        text = "pyglidein submitted for the same user jobs again in each partition; now each is counted once"
        findings.note(draft.file, text)
        if family.backend == "torque":
            text = "pyglidein took a user job's memory for 2.4 % more in each further partition; now it stays as it is"
            findings.note(draft.file, text)
    if family.backend in {"slurm", "torque", "lsf"} and not cluster.has("mem_per_core"):
        fitted = [shape.name for shape in live if shape.table.get("fit") and shape.table.get("gpus")]
        if fitted:
            text = f"without mem_per_core, pyglidein's glideins with GPUs offered 2000 MB at most: {', '.join(fitted)}"
            findings.note(draft.file, f"{text}; user jobs that asked for more made it submit for ever, and fit now")
    if family.backend == "slurm" and cluster.flag("group_jobs"):
        cluster.say(
            "group_jobs", Verdict.BUG, "on Slurm pyglidein stopped with an error as soon as two were to be submitted"
        )


def _leftovers(ini: Ini, findings: Findings) -> None:
    """Says of each known key that nobody has spoken of yet what is true of it in general."""
    for entry in ini.entries:
        table = KNOWN.get(entry.section) or (KNOWN["Cluster"] if _is_partition(ini, entry.section) else {})
        if entry.key in table and not findings.has(entry):
            findings.say(entry, *table[entry.key])
