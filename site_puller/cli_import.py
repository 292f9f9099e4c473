"""`glidepost puller import`: a puller.toml of what a site had for pyglidein, and a report on each key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from glidepost.schema.command import complain
from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.files import write_atomic
from glidepost.schema.keys import PublicKey
from glidepost.schema.puller_config import PullerConfig

from .explain import console
from .legacy.known import KNOWN
from .legacy.merge import merge
from .legacy.model import Findings, SiteDraft, Verdict
from .legacy.read import read
from .legacy.report import Report, rendered
from .legacy.write import Given, render


@click.command("import")
@click.argument("old", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("puller.toml"),
    show_default=True,
    help="The new file.",
)
@click.option("--force", is_flag=True, help="Overwrite the new file if it is there.")
@click.option("--url", default="", help="Where the pool's documents are, from its admin.")
@click.option("--public-key", default="", help="The pool's, ed25519:..., from its admin.")
@click.option("--site", default="", help="The name that the pool's admin enrols (default: after the old file's site).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_command(  # noqa: PLR0913 - one for each option
    *, old: tuple[Path, ...], output: Path, force: bool, url: str, public_key: str, site: str, as_json: bool
) -> None:
    """Write a puller.toml of pyglidein's configurations, batch scripts or submit files.

    Prints what became of each of their keys. Several files become one, with the shapes of all.

    Example: glidepost puller import cluster.config --output puller.toml
    """
    given = _checked(Given(url, public_key, site))
    if output.exists() and not force:
        raise ConfigError(f"{output} is there already", hint="name another file with --output, or add --force")
    findings = Findings()
    draft = merge(_read(old, findings), findings)
    text = render(draft, given)
    write_atomic(output, text.encode("utf-8"))
    report = _report(old, output, draft, findings, given)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    else:
        console().print(rendered(report))
    for one in report.of(Verdict.UNKNOWN):
        click.echo(f"warning: {one.file}:{one.line}: [{one.section}] {one.key}: {one.what}", err=True)
    _say_whether_it_loads(output, report)


def _checked(given: Given) -> Given:
    if given.public_key:
        PublicKey.parse(given.public_key)
    if given.url and not re.fullmatch(r"(https?://\S+|file:.+)", given.url):
        raise ConfigError(
            f"--url {given.url}: not an address", hint="such as https://bucket.example.org, or file:FOLDER"
        )
    if given.site and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", given.site):
        raise ConfigError(f"--site {given.site}: not a name", hint="lower-case letters, digits and -, at most 32")
    return given


def _read(old: tuple[Path, ...], findings: Findings) -> list[SiteDraft]:
    """Reads all files; one that cannot be read does not hide what is wrong with the others."""
    drafts: list[SiteDraft] = []
    errors: list[ConfigError] = []
    for path in dict.fromkeys(old):
        _read_one(path, findings, drafts, errors)
    for problem in errors[:-1]:
        complain(problem.what, problem.hint)
    if errors:
        raise errors[-1]
    return drafts


def _read_one(path: Path, findings: Findings, drafts: list[SiteDraft], errors: list[ConfigError]) -> None:
    try:
        drafts.append(read(path, findings))
    except ConfigError as error:
        errors.append(error)


def _report(old: tuple[Path, ...], output: Path, draft: SiteDraft, findings: Findings, given: Given) -> Report:
    missing = [f"[pool] {key}" for key, have in (("url", given.url), ("public_key", given.public_key)) if not have]
    live = tuple(shape.name for shape in draft.shapes if not shape.off)
    if not live:
        missing.append("[shapes.NAME]: at least one that is not commented out")
    return Report(
        output=str(output),
        files=tuple(str(path) for path in dict.fromkeys(old)),
        shapes=live,
        commented_out=tuple(shape.name for shape in draft.shapes if shape.off),
        findings=findings.of(draft.entries, KNOWN),
        notes=tuple(findings.notes),
        missing=tuple(missing),
    )


def _say_whether_it_loads(output: Path, report: Report) -> None:
    if report.missing:
        click.echo(f"wrote {output}; it does not load yet: fill in {', '.join(report.missing)}", err=True)
        return
    try:
        PullerConfig.load(output)
    except GlidepostError as error:
        complain(f"wrote {output}, but it does not load: {error.what}", error.hint)
    else:
        click.echo(f"wrote {output}; next: glidepost puller check --config {output}", err=True)
