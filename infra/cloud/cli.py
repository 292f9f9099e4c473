"""`glidepost infra package`, `deploy` and `destroy`: the verbs that make the cloud side."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Final, Optional, TypeVar

import click
from rich.console import Console

from . import deploy as deploying
from . import destroy as destroying
from .aws import Account
from .changes import table
from .package import ARCHITECTURES, PYTHONS, Package, Target, build, describe
from .stack import Plan, Stack

Function = TypeVar("Function", bound=Callable[..., Any])

_DEFAULT: Final = Target()
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _options(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


target_options = _options(
    click.option(
        "--arch",
        type=click.Choice(ARCHITECTURES),
        default=_DEFAULT.architecture,
        show_default=True,
        help="The processor that Lambda shall use.",
    ),
    click.option(
        "--python",
        type=click.Choice(PYTHONS),
        default=_DEFAULT.python,
        show_default=True,
        help="The Python that Lambda shall use.",
    ),
)
where_options = _options(
    click.option("--name", default="glidepost", show_default=True, help="The stack's name."),
    click.option("--region", help="The region, such as eu-central-1; default: that of the profile."),
    click.option("--profile", help="The profile in ~/.aws; default: AWS_PROFILE, or the instance's role."),
)
wish_options = _options(
    click.option("--pool", help="The pool's name on the page while no demand was published."),
    click.option("--mail", metavar="ADDRESS", help="Whom alarms and the budget write to."),
    click.option("--budget", "budget_usd", type=int, metavar="USD", help="Mail at 80 % of it; 0: none.  [default: 5]"),
    click.option("--log-days", type=int, help="How long the aggregator's log is kept.  [default: 14]"),
    click.option("--glidein-log-days", type=int, help="How long logs of glideins are kept.  [default: 14]"),
    click.option("--reserved-concurrency", type=int, metavar="N", help="1 keeps a place free; -1: none."),
    click.option("--domain", metavar="NAME", help="A name of your own for the page and the documents."),
    click.option("--certificate", metavar="ARN", help="The domain's certificate, in ACM of us-east-1."),
    click.option(
        "--webhook-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A file, mode 0600: an address that is told when a site falls silent; its token in the second line.",
    ),
    click.option("--webhook-format", type=click.Choice(["slack", "matrix"]), help="What that understands."),
)


@dataclass(frozen=True)
class _Choice:
    """How to deploy."""

    target: Target
    file: Optional[Path]
    folder: Path
    dry_run: bool
    yes: bool
    new_keys: bool
    as_json: bool


@click.command()
@target_options
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="The zip file; its default names what it is for."
)
@json_option
def package(*, arch: str, python: str, output: Optional[Path], as_json: bool) -> None:
    """Make the zip file that the aggregator is in AWS Lambda; the same code makes the same file.

    Example: glidepost infra package --arch arm64
    """
    target = Target(arch, python)
    made = build(target, output or Path(target.name))
    if as_json:
        click.echo(json.dumps(asdict(made), indent=1, default=str))
        return
    click.echo(f"{made.path}: {made.size_bytes} bytes, sha256 {made.sha256}")


@click.command()
@where_options
@wish_options
@target_options
@click.option(
    "--zip", "file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Made before, by package."
)
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where store.toml and the credentials files go; default: here.",
)
@click.option("--new-keys", is_flag=True, help="Make new access keys, though those in the files still work.")
@click.option("--dry-run", is_flag=True, help="Show what would change, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def deploy(**given: Any) -> None:
    """Make or update the cloud side in an AWS account: bucket, CloudFront, aggregator, alarms, keys.

    What would change is shown first. Ends with the [store] table for publisher.toml.

    Example: glidepost infra deploy --pool icecube --region eu-central-1 --mail admins@example.org
    """
    account = Account.open(given.pop("region"), given.pop("profile"))
    target = Target(given.pop("arch"), given.pop("python"))
    names = ("file", "folder", "dry_run", "yes", "new_keys", "as_json")
    choice = _Choice(target, **{name: given.pop(name) for name in names})
    wishes = deploying.Wishes(**given)
    wishes.parameters()  # before anything is asked
    console = Console(stderr=choice.as_json, highlight=False)
    console.print(f"account {account.number}, {account.region}, stack {wishes.name}")
    with tempfile.TemporaryDirectory(prefix="glidepost-deploy-") as folder:
        _deploy(Stack(account, wishes.name), wishes, _code(choice, Path(folder), console), choice, console)


def _code(choice: _Choice, folder: Path, console: Console) -> Package:
    if choice.file:
        return describe(choice.file, choice.target)
    with console.status("packing the aggregator"):
        return build(choice.target, folder / choice.target.name)


def _deploy(stack: Stack, wishes: deploying.Wishes, code: Package, choice: _Choice, console: Console) -> None:
    with console.status("asking CloudFormation what would change"):
        plan = deploying.plan(stack, wishes, code)
    _show(plan, wishes.name, console)
    if choice.dry_run:
        stack.discard(plan)
        console.print("nothing was changed")
        return
    if plan.changes and not choice.yes and not click.confirm("carry this out?", err=True):
        stack.discard(plan)
        raise click.Abort
    with console.status("changing the stack"):
        deploying.carry_out(stack, plan, code, lambda text: console.print(text, markup=False))
    deployed = deploying.hand_over(stack, choice.folder, new_keys=choice.new_keys)
    if choice.as_json:
        click.echo(json.dumps(asdict(deployed), indent=1, default=str))
        return
    _show_deployed(deployed, console)


def _show(plan: Plan, name: str, console: Console) -> None:
    if not plan.changes:
        console.print(f"{name} is as it should be")
        return
    console.print(table(plan.changes, f"{'a new stack' if plan.is_first else 'changes of the stack'}: {name}"))
    for change in plan.changes:
        if change.is_grave:
            console.print(f"[bold red]{change.name} goes, and another one takes its place[/]: what is in it is lost")


def _show_deployed(deployed: deploying.Deployed, console: Console) -> None:
    console.print(f"\nThe page: {deployed.public_url}/ (about a minute from now, and some more for a new address)")
    for kept in (deployed.publisher, deployed.forms):
        console.print(f"{kept.file}: {'a new access key' if kept.is_new else 'its access key still works'}")
        for other in kept.others:
            console.print(f"  its user's other key {other} works too: remove it when nobody uses it any more")
    console.print(f"\nIn publisher.toml, in place of its [store] ({deployed.store_file}):\n")
    console.print(deployed.store_file.read_text(encoding="utf-8"), markup=False, soft_wrap=True)


@click.command()
@where_options
@click.option("--bucket-too", is_flag=True, help="Remove the bucket with all that it holds; else it stays.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def destroy(**given: Any) -> None:
    """Take the cloud side down: aggregator, CloudFront, keys, alarms. The bucket stays, unless told otherwise.

    Example: glidepost infra destroy --region eu-central-1 --yes
    """
    stack = Stack(Account.open(given["region"], given["profile"]), given["name"])
    console = Console(stderr=given["as_json"], highlight=False)
    standing = destroying.look(stack)
    fate = "goes too" if given["bucket_too"] else "stays"
    console.print(f"stack {standing.stack} is {standing.status}; its bucket {standing.bucket or '(none)'} {fate}")
    if not given["yes"]:
        click.confirm("take it down? Sites then cannot read the demand, nor report", abort=True, err=True)
    with console.status("taking the stack down"):
        done = destroying.carry_out(
            stack, standing, lambda text: console.print(text, markup=False), bucket_too=given["bucket_too"]
        )
    if given["as_json"]:
        click.echo(json.dumps(asdict(done), indent=1))
        return
    kept = f"; {done.kept_bucket} stays, with all that it holds" if done.kept_bucket else ""
    console.print(f"{done.stack} is gone{kept}")
