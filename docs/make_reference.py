"""Writes docs/reference from what the code says of itself. A test compares the two."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from glidepost.backends.registry import BACKENDS
from glidepost.infra.aggregator.metrics import METRICS
from glidepost.schema.command import cli
from glidepost.schema.errors import __doc__ as errors_text

HERE = Path(__file__).parent
SCHEMA = HERE.parent / "schema"
NOTE = "<!-- Written by docs/make_reference.py: change the code, run it again. -->\n"


def configuration() -> str:
    """Returns every key of the configuration files."""
    parts = [
        "# Configuration files\n",
        NOTE,
        "They are TOML. An unknown key is an error that names the nearest known one. Sizes and durations are strings",
        'with a unit: `"512MiB"`, `"8GiB"`, `"90s"`, `"30m"`, `"1h30m"`. Relative paths start at the folder of the',
        "file. Editors complete and check the keys with the JSON Schema files in `schema/`.\n",
    ]
    for kind, file in (("publisher-config-1", "publisher.toml"), ("puller-config-1", "puller.toml")):
        schema = json.loads((SCHEMA / f"{kind}.schema.json").read_text())
        example = (SCHEMA / f"{kind}.example.toml").read_text()
        parts += [f"## {file}\n", "```toml", example.rstrip(), "```\n"]
        for name, table in _tables(schema):
            parts += [f"### `[{name}]`\n", "| key | | what |", "| --- | --- | --- |", *_rows(table), ""]
    (site,) = json.loads((SCHEMA / "sites-1.schema.json").read_text())["patternProperties"].values()
    example = (SCHEMA / "sites-1.example.toml").read_text()
    parts += [
        "## sites.toml\n",
        "Beside publisher.toml: `[demand] sites` names it.\n",
        "```toml",
        example.rstrip(),
        "```\n",
    ]
    parts += ["### `[a site's name]`\n", "| key | | what |", "| --- | --- | --- |", *_rows(site), ""]
    return "\n".join(parts)


def commands() -> str:
    """Returns every verb with its help, and the exit codes."""
    parts = [
        "# Commands\n",
        NOTE,
        "Answers go to standard output, everything else to standard error.\n",
        "## Exit codes\n",
    ]
    parts += ["```", (errors_text or "").split("::")[1].split("Each carries")[0].strip("\n"), "```\n"]
    parts.append("A run that finds another one of its kind at work says so and exits 0.\n")
    context = click.Context(cli, info_name="glidepost")
    for noun in cli.list_commands(context):
        command = cli.get_command(context, noun)
        if command is None:
            continue
        parts.append(f"## glidepost {noun}\n")
        parts += [_help(command, f"glidepost {noun}")]
        if isinstance(command, click.Group):
            for verb in command.list_commands(context):
                found = command.get_command(context, verb)
                if found is not None:
                    parts += [f"### glidepost {noun} {verb}\n", _help(found, f"glidepost {noun} {verb}")]
    return "\n".join(parts)


def documents() -> str:
    """Returns every document that travels, with its example."""
    parts = [
        "# Documents\n",
        NOTE,
        "UTF-8 JSON, times in UTC, units in the field's name. The JSON Schema files are normative; readers ignore",
        "fields that they do not know.\n",
    ]
    for kind, where in (
        ("demand-1", "`v1/demand.json`: written by the publisher, signed, read by all sites."),
        (
            "keys-1",
            "`v1/keys.json`: written by the publisher, each link signed; see [why](../how-to/change-the-pools-key.md).",
        ),
        (
            "mailbox-1",
            "`v1/sites/<site>.json`: written by the publisher, signed; `box` opens with the site's key only.",
        ),
        ("heartbeat-1", "`v1/heartbeats/<site>.json`: written by the site, through the form from its mailbox."),
        ("status-1", "`v1/status.json`: written by the aggregator; `index.html` is drawn from it."),
        (
            "history-1",
            "`v1/history/5min.json` (2 days), `1h.json` (90 days), `1d.json` (10 years): written by the aggregator.",
        ),
    ):
        schema = json.loads((SCHEMA / f"{kind}.schema.json").read_text())
        parts += [f"## {kind.replace('-', '/')}: {schema['title'][0].lower()}{schema['title'][1:]}\n"]
        parts += [where, f"Schema: `schema/{kind}.schema.json`.\n", "```json"]
        parts += [(SCHEMA / f"{kind}.example.json").read_text().rstrip(), "```\n"]
    return "\n".join(parts)


def batch_systems() -> str:
    """Returns what each backend says of itself, and which of its words mean what."""
    parts = [
        "# Batch systems\n",
        NOTE,
        "What the site puller says to each batch system, and what a site should know of it. The options are in",
        "[configuration.md](configuration.md), examples for 57 sites in [needs.md](needs.md). A word that is not in",
        "these tables counts as a glidein that is there: a strange word never causes a submission.\n",
        "| backend | programs | |",
        "| --- | --- | --- |",
    ]
    made = {name: make({"folder": "/"}) for name, make in sorted(BACKENDS.items())}
    for name, backend in made.items():
        said = inspect.getdoc(inspect.getmodule(type(backend))) or ""
        parts.append(f"| [{name}](#{name}) | {', '.join(backend.programs)} | {said.splitlines()[0]} |")
    for name, backend in made.items():
        said = inspect.getdoc(inspect.getmodule(type(backend))) or ""
        parts += [f"\n## {name}\n", said, "\n| it says | means |", "| --- | --- |"]
        parts += [f"| `{word}` | {state.value} |" for word, state in backend.states.items()]
    return "\n".join([*parts, ""])


def for_programs() -> str:
    """Returns what programs find beside the documents: files, and every metric."""
    parts = [
        "# For programs\n",
        NOTE,
        "The aggregator writes these beside the page, for everybody who may see that. Each is an object in the",
        "store, and no server answers.\n",
        "| key | what | written |",
        "| --- | --- | --- |",
        "| `v1/status.json` | all that the page shows ([status/1](documents.md)) | each run |",
        "| `v1/metrics.txt` | the same as OpenMetrics text, for Prometheus | each run |",
        "| `v1/history/5min.json`, `1h.json`, `1d.json` | [history/1](documents.md) | when a slot is over |",
        "| `v1/history/pool-5min.csv`, `sites-5min.csv`, ... | the same as CSV (RFC 4180) | when a slot is over |",
        "| `feed.xml` | Atom: what has gone wrong, and what is well again | when something has |",
        "| `badges/SITE.svg`, `badges/_pool.svg` | a picture of the state, for other pages | when it changes |",
        "",
        "Where nobody knows a value, a cell of a table is empty, a value of a history null, and a metric has no line.",
        "Histories keep the first 200 sites; the pool's own series count all.\n",
        "## Prometheus\n",
        "```yaml",
        "scrape_configs:",
        "  - job_name: glidepost",
        "    scheme: https",
        "    metrics_path: /v1/metrics.txt",
        "    static_configs: [{targets: [glidepost.example.org]}]",
        "```\n",
        "`time() - glidepost_status_timestamp_seconds > 600` says that the aggregator itself is silent.\n",
        "| metric | type | labels | |",
        "| --- | --- | --- | --- |",
    ]
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        parts.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join([*parts, ""])


PAGES = {
    "batch-systems.md": batch_systems,
    "configuration.md": configuration,
    "commands.md": commands,
    "documents.md": documents,
    "for-programs.md": for_programs,
}


def _tables(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in schema["properties"].items():
        if name == "rules":
            yield "rules.SITE", table["additionalProperties"]
            continue
        if name != "shapes":
            yield name, table
            continue
        shape = schema["definitions"]["shape"]
        yield "shapes.NAME", shape
        for branch in shape["allOf"]:
            backend = branch["if"]["properties"]["backend"]["const"]
            options = branch["then"]["properties"]["options"]
            yield f"shapes.NAME.options] of backend {backend}, [shapes.NAME.options", options


def _rows(table: Mapping[str, Any]) -> Iterator[str]:
    required = table.get("required", ())
    for key, value in table["properties"].items():
        if key == "options":
            continue
        kind = " or ".join(f"`{item}`" for item in value.get("enum", ())) or value.get("type", "")
        text = value.get("description", "")
        if "examples" in value:
            text = f"{text}; such as `{json.dumps(value['examples'][-1])}`" if text else f"`{value['examples'][-1]}`"
        yield f"| `{key}` | {'required' if key in required else ''} | {text or kind} |"


def _help(command: click.Command, name: str) -> str:
    """Returns a command's help; not click's own text, which differs between its versions."""
    arguments = [f" {item.name.upper()}" for item in command.params if isinstance(item, click.Argument) and item.name]
    text = inspect.cleandoc(command.help or "").replace("Example: ", "Example:\n\n    ")
    parts = [f"`{name}{''.join(arguments)}{' [OPTIONS]' if command.params else ''}`\n", f"{text}\n"]
    options = [item for item in command.params if isinstance(item, click.Option)]
    if options:
        parts += ["| option | |", "| --- | --- |"]
        parts += [f"| `{', '.join(item.opts)}` | {item.help or ''}{_default(item)} |" for item in options]
        parts.append("")
    return "\n".join(parts)


def _default(option: click.Option) -> str:
    variable = f" (or `{option.envvar}`)" if option.envvar else ""
    return f"{variable} Default: `{option.default}`." if option.show_default else variable


def main() -> None:
    """Writes the pages."""
    for name, page in PAGES.items():
        (HERE / "reference" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
