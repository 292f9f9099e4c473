"""What a pyglidein configuration says of the site and of all its glideins, outside of partitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from . import values
from .known import KNOWN
from .model import Entry, Findings, Settings, SiteDraft, Verdict

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROXY: Final = re.compile(r"http://\S+")
_PREFER: Final = frozenset({"gpus", "memory", "cpus", "disk"})
_MINUTE_S: Final = 60


def apply(sections: Mapping[str, Mapping[str, Entry]], site: SiteDraft, findings: Findings) -> None:
    """Adds to a site's draft what is said outside of partitions."""
    glidein = Settings(findings, sections.get("Glidein", {}))
    mode = Settings(findings, sections.get("Mode", {}))
    submit = Settings(findings, sections.get("SubmitFile", {}))
    _glidein(glidein, site, submit)
    _address(glidein, site)
    if mode.flag("dryrun"):
        mode.say("dryrun", Verdict.TRANSLATED, "with it this site submitted nothing (on HTCondor it did): use `plan`")
        site.remark("site", "dryrun was on: this site submitted nothing. Run `glidepost puller plan` first.")
    _submit(submit, site)
    _startd(sections, findings)
    for entry in sections.get("CustomEnv", {}).values():
        _variable(entry, site, findings, scratch=submit.text("local_dir"))


def _glidein(glidein: Settings, site: SiteDraft, submit: Settings) -> None:
    name = glidein.text("site")
    cleaned = values.glidein_site(name)
    if cleaned:
        site.site["glidein_site"] = cleaned
        changed = "" if cleaned == name else f" (of {name!r}: letters, digits, . _ - only)"
        glidein.say("site", Verdict.TRANSLATED if changed else Verdict.KEPT, f"glidein_site = {cleaned!r}{changed}")
    elif glidein.has("site"):
        glidein.say("site", Verdict.UNKNOWN, "no name that a glidein could advertise")
    delay = glidein.number("delay", -1)
    if delay >= _MINUTE_S:
        minutes = min(59, delay // _MINUTE_S)
        glidein.say("delay", Verdict.TRANSLATED, f"cron is the loop: */{minutes} * * * *")
        site.remark("", f"The old client ran each {delay} s: in the crontab, */{minutes} * * * *")
    elif glidein.has("delay"):
        glidein.say("delay", Verdict.OBSOLETE, "cron is the loop")
    folder = glidein.text("loc")
    if folder and glidein.has("tarball") and _is_plain_path(folder):
        site.glidein["cache"] = folder
        glidein.say("loc", Verdict.TRANSLATED, f"[glidein] cache = {folder!r}: worker nodes must see it")
    elif folder:
        site.remark("glidein", f"loc was {values.printable(folder)}: cache names a folder for tarballs that nodes see.")
    if glidein.has("glidein_script"):
        script = values.printable(glidein.text("glidein_script"))
        site.remark("glidein", f"glidein_script was {script}: look for what it did that setup or checks must do now.")
    container = submit.text("executable")
    if container:
        site.remark("glidein", f"pyglidein started {values.printable(container)} in place of its own script.")
        text = "a container around the glidein has no key in this version: it runs on the node itself"
        submit.say("executable", Verdict.OBSOLETE, text)


def _is_plain_path(text: str) -> bool:
    """Tells whether a path can be expanded where the puller runs: cron sets HOME, and little more."""
    return "$" not in re.sub(r"\$\{?HOME\b\}?", "", text) and bool(re.match(r"/|~/|\$", text))


def _address(glidein: Settings, site: SiteDraft) -> None:
    if glidein.flag("ssh_state"):
        site.pool["is_file"] = True
        text = 'demand from a file: [pool] url = "file:FOLDER", which another host fills'
        glidein.say("ssh_state", Verdict.TRANSLATED, text)
        site.remark("pool", 'ssh_state was on: another host brought the demand. The same here: url = "file:FOLDER".')
    else:
        glidein.say("ssh_state", Verdict.OBSOLETE, "off, as without it")


def prefer(settings: Settings, site: SiteDraft) -> None:
    """Adds prioritize_jobs. Its key `gpu` never had an effect in pyglidein, whose user jobs had `gpus`."""
    value = settings.value("prioritize_jobs")
    if value is None:
        return
    words = [str(word).strip() for word in value] if isinstance(value, (list, tuple, set)) else str(value).split(",")
    named = [re.sub(r"^(-?)gpu$", r"\1gpus", word.strip(" []\"'")) for word in words]
    known = list(dict.fromkeys(word for word in named if word.lstrip("-") in _PREFER))
    if known:
        site.site.setdefault("prefer", known)
        settings.say("prioritize_jobs", Verdict.TRANSLATED, f"[site] prefer = {known}")
    if site.site.get("prefer") != known:
        text = f"[site] prefer is one for all shapes, and is {site.site.get('prefer', 'not set')}"
        settings.say("prioritize_jobs", Verdict.UNKNOWN if not known else Verdict.TRANSLATED, text)
    if any(word.strip("- \"'[]") == "gpu" for word in words):
        settings.say(
            "prioritize_jobs", Verdict.BUG, '"gpu" never had an effect in pyglidein, only "gpus" had; now it has'
        )
    lost = [word for word in named if word.lstrip("-") not in _PREFER]
    if lost:
        settings.say(
            "prioritize_jobs", Verdict.TRANSLATED, f"without {', '.join(lost)[:100]}, which nothing is sorted by"
        )


def _submit(submit: Settings, site: SiteDraft) -> None:
    end = submit.text("custom_end")
    if end:
        text = "pyglidein never came to it, as the glidein took the script's place"
        if re.fullmatch(r"\s*rm\s+-\w+\s+[\"']?\$\{?LOCAL_DIR\}?/?[\"']?\s*", end):
            submit.say("custom_end", Verdict.BUG, f"{text}; now glideins remove their scratch themselves")
        else:
            submit.say("custom_end", Verdict.BUG, f"{text}; it does not run now either")
            site.remark("glidein", f"custom_end was (and never ran): {values.shown('', end)}")
    wish = submit.text("requirements")
    if wish:
        site.remark(
            "",
            f"[SubmitFile] requirements was {values.shown('', wish)} and never read: if worker nodes must be"
            " chosen so, it belongs into the options of the shapes.",
        )
    if submit.flag("cvmfs_job_wrapper"):
        submit.say("cvmfs_job_wrapper", Verdict.OBSOLETE, "user jobs find CVMFS without a wrapper")


def _startd(sections: Mapping[str, Mapping[str, Entry]], findings: Findings) -> None:
    checks = Settings(findings, sections.get("StartdChecks", {}))
    if checks.has("enable_startd_checks") and not checks.flag("enable_startd_checks"):
        text = "Glidepost's own checks cannot be switched off; more of them: [glidein] checks"
        checks.say("enable_startd_checks", Verdict.TRANSLATED, text)
    logging = Settings(findings, sections.get("StartdLogging", {}))
    if logging.has("send_startd_logs") and not logging.flag("send_startd_logs"):
        logging.say("send_startd_logs", Verdict.OBSOLETE, "off, as without it")
    for name, table in sections.items():
        for key, entry in table.items():
            if name != "CustomEnv" and values.is_secret(key, entry.text):
                text = "a secret, not copied: withdraw it, and delete the old file where others can read it"
                findings.say(entry, Verdict.OBSOLETE, text)
    near = [name for name in sections if name not in KNOWN and re.fullmatch(r"(?i)sta\w*d\w*checks", name)]
    for name in near:
        for entry in sections[name].values():
            text = f"[{name}] was not read, [StartdChecks] was meant; checks were on all the same, and are"
            findings.say(entry, Verdict.BUG, text)


def _variable(entry: Entry, site: SiteDraft, findings: Findings, *, scratch: str) -> None:
    """Adds one variable of [CustomEnv], which pyglidein pasted, unquoted, between `env -i` and the glidein."""
    name, text = entry.key, " ".join(str(entry.value).split())
    if values.is_secret(name, entry.text):
        text = "a secret, not copied: each glidein gets a token of its own; withdraw this one"
        findings.say(entry, Verdict.OBSOLETE, text)
        return
    broken = re.fullmatch(r"(.+?)\[\w+\]", text)
    if broken:
        text = broken[1]
        findings.say(entry, Verdict.BUG, f"the next section's name was glued to it; taken for {text!r}")
    if not isinstance(entry.value, str):
        findings.say(entry, Verdict.BUG, "pyglidein broke on a variable that is no text; now it is one")
    if not _NAME.fullmatch(name):
        findings.say(entry, Verdict.UNKNOWN, "no name of a variable; written as a comment")
        site.remark("glidein", f"[CustomEnv] {values.printable(name)} = {values.shown(name, text)}")
    elif name.lower() == "http_proxy" and _PROXY.fullmatch(text):
        site.glidein["proxy"] = text
        findings.say(entry, Verdict.TRANSLATED, f"[glidein] proxy = {text!r}")
    elif name == "GLIDEIN_DIR":
        findings.say(entry, Verdict.OBSOLETE, "pyglidein's own folder; glideins bring what they need")
    elif name in {"TMPDIR", "TMP", "TEMP"}:
        _temporary(entry, site, findings, text, scratch)
    elif name == "CACHE_DIR" and _is_plain_path(text):
        site.glidein["cache"] = text
        findings.say(entry, Verdict.TRANSLATED, f"[glidein] cache = {text!r}: for tarballs, worker nodes must see it")
    else:
        site.environment[name] = text
        more = "; to let in user jobs of a group only: accept, in a shape" if name == "GROUP" else ""
        findings.say(entry, Verdict.KEPT, f"[glidein.environment]{more}")


def _temporary(entry: Entry, site: SiteDraft, findings: Findings, text: str, scratch: str) -> None:
    if scratch and text != scratch:
        site.remark("glidein", f"{entry.key} was {values.printable(text)}; user jobs get a folder in scratch.")
    what = "user jobs get a folder in scratch, which is removed with the glidein"
    findings.say(entry, Verdict.TRANSLATED, what)
