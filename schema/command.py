"""The `glidepost` command: the folders are its nouns, each loaded only when it is used; errors become exit codes here.

It stands in `schema` because all sides share it, and names the others by text only: a site has no publisher's
libraries.
"""

from __future__ import annotations

import importlib
import logging
import sys
from importlib import metadata
from typing import Final, Optional

import click
from rich.console import Console
from rich.text import Text

from .errors import ConfigError, GlidepostError

# A site has no boto3 and no HTCondor, and cron starts us every few minutes: import what is asked for, nothing else.
GROUPS: Final = {
    "publisher": ("glidepost.publisher.cli", "On the access point: publish what the pool needs."),
    "puller": ("glidepost.site_puller.cli", "At a site: submit the glideins that the pool needs."),
    "glidein": ("glidepost.glidein.cli", "Build and inspect the tarball that glideins run."),
    "infra": ("glidepost.infra.cli", "Deploy the cloud side, make the status page, tell what is wrong, count costs."),
    "keys": ("glidepost.schema.cli", "Make, show and change keys."),
    "demo": ("glidepost.infra.demo.cli", "Run all of Glidepost on this machine."),
}

# Their details hold what must not be written down: addresses with a signature in them, and what is signed.
_TALKATIVE: Final = ("boto3", "botocore", "requests", "s3transfer", "urllib3")

EXTRAS: Final = {"publisher": "publisher", "infra": "publisher,infra", "demo": "publisher,infra,demo"}


def load(module: str, name: str) -> click.Command:
    """Returns the click command that a module has under a name; the module is imported only now."""
    command = getattr(importlib.import_module(module), name)
    if not isinstance(command, click.Command):
        raise TypeError(f"{module}.{name} is no click command")
    return command


class LazyGroup(click.Group):
    """A click group that imports a noun's module when that noun is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Returns the nouns."""
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:  # noqa: ARG002 - same
        """Returns the noun's click command, or None."""
        if cmd_name not in GROUPS:
            return None
        try:
            return load(GROUPS[cmd_name][0], "group")
        except ModuleNotFoundError as error:
            if cmd_name not in EXTRAS or str(error.name).startswith("glidepost"):
                raise
            raise ConfigError(
                f"glidepost {cmd_name} needs {error.name}, which is not installed",
                hint=f"in a clone: pip install '.[{EXTRAS[cmd_name]}]'",
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        """Writes the table of nouns without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in GROUPS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("glidepost"), prog_name="glidepost")
@click.option("-v", "--verbose", count=True, help="Log what is done; twice for every detail.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
def cli(verbose: int, quiet: bool) -> None:  # noqa: FBT001 - click's way
    """Glidepost grows an HTCondor pool over clusters that have no grid interface, and runs no server."""
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.INFO))


def main() -> None:
    """Runs the command line; exits 0, or with the error's code (see schema/errors.py) after saying what to do."""
    try:
        code = cli(standalone_mode=False)
    except GlidepostError as error:
        complain(error.what, error.hint)
        sys.exit(error.exit_code)
    except OSError as error:
        complain(str(error), "is the disk full, or may the folder not be written?")
        sys.exit(GlidepostError.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def complain(what: str, hint: str) -> None:
    """Writes an error and what to do about it to standard error; all commands' errors look like this."""
    stderr = Console(stderr=True, soft_wrap=True, highlight=False)
    stderr.print(Text.assemble(("error: ", "bold red"), what))
    stderr.print(Text.assemble(("hint:  ", "bold"), hint))
