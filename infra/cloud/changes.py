"""What a change set will do, as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table
from rich.text import Text

_STYLES: Final = {"Add": "green", "Modify": "yellow", "Remove": "red"}
# What cannot be had back: objects in the bucket, addresses that sites know, keys in files.
_PRECIOUS: Final = ("AWS::S3::Bucket", "AWS::CloudFront::Distribution", "AWS::IAM::User")


@dataclass(frozen=True)
class Change:
    """One resource. `replaced` is "" where it stays, "yes", or "maybe"; `causes` are properties that change."""

    action: str
    name: str
    kind: str
    replaced: str = ""
    causes: tuple[str, ...] = ()

    @classmethod
    def from_aws(cls, change: Mapping[str, Any]) -> Change:
        """Returns a change as CloudFormation describes it."""
        said = change["ResourceChange"]
        targets = [detail.get("Target", {}) for detail in said.get("Details", ())]
        names = {str(target.get("Name") or target.get("Attribute") or "") for target in targets}
        replaced = {"True": "yes", "Conditional": "maybe"}.get(str(said.get("Replacement", "")), "")
        return cls(
            str(said["Action"]),
            str(said["LogicalResourceId"]),
            str(said["ResourceType"]),
            replaced,
            tuple(sorted(names - {""})),
        )

    @property
    def is_grave(self) -> bool:
        """Whether something goes that people would miss."""
        return self.kind in _PRECIOUS and (self.action == "Remove" or self.replaced == "yes")


def table(changes: Iterable[Change], title: str) -> Table:
    """Returns the changes, removals first."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("", "what", "kind", "why"):
        shown.add_column(column, overflow="fold")
    order = ("Remove", "Modify", "Add")
    for change in sorted(
        changes, key=lambda item: (order.index(item.action) if item.action in order else 3, item.name)
    ):
        why = ", ".join(change.causes)
        if change.replaced:
            why = f"{'replaced' if change.replaced == 'yes' else 'may be replaced'}{': ' if why else ''}{why}"
        style = "bold red" if change.is_grave else _STYLES.get(change.action, "")
        action = Text(change.action.lower(), style=style)
        shown.add_row(action, change.name, change.kind.removeprefix("AWS::"), why)
    return shown
