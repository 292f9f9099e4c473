"""One CloudFormation stack: a change set made, shown, and carried out; events as they come; the stack removed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Optional

import botocore.exceptions

from glidepost.schema.errors import GlidepostError

from .aws import Account, attempt
from .changes import Change

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef, ParameterTypeDef, StackTypeDef

_STEP_S: Final = 3.0
_BUSY: Final = "_IN_PROGRESS"
_NEW: Final = "REVIEW_IN_PROGRESS"  # a change set that was never carried out, and nothing else
_NO_CHANGE: Final = ("didn't contain changes", "No updates are to be performed")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A change set that waits. `changes` is empty when all is as it should be already."""

    name: str
    is_first: bool
    changes: tuple[Change, ...]


@dataclass
class Stack:
    """The stack of one name. `sleep` waits between two questions."""

    account: Account
    name: str
    sleep: Callable[[float], None] = time.sleep
    _told: set[str] = field(default_factory=set)

    def find(self) -> Optional[StackTypeDef]:
        """Returns what CloudFormation says of the stack, None when there is none."""
        try:
            found = self.account.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except botocore.exceptions.ClientError as error:
            if "does not exist" in str(error):
                return None
            attempt(f"stack {self.name}", _raise(error))
            raise
        except botocore.exceptions.BotoCoreError as error:
            attempt(f"stack {self.name}", _raise(error))
            raise
        return found[0] if found and found[0]["StackStatus"] != "DELETE_COMPLETE" else None

    def outputs(self) -> dict[str, str]:
        """Returns the stack's outputs; nothing of a stack that is not there."""
        found = self.find()
        pairs = found.get("Outputs", []) if found else []
        return {item.get("OutputKey", ""): item.get("OutputValue", "") for item in pairs}

    def plan(self, template: str, parameters: Mapping[str, str]) -> Plan:
        """Returns what would change, and leaves the change set waiting.

        Args:
            template: The text.
            parameters: By name; those of an existing stack that are not named stay.

        Raises:
            GlidepostError: The stack cannot be changed now, or CloudFormation refuses.
        """
        found = self.find()
        is_first = self._is_first(found)
        known = (
            {item.get("ParameterKey", "") for item in found.get("Parameters", [])} if found and not is_first else set()
        )
        name = f"glidepost-{uuid.uuid4()}"
        attempt(
            f"change set of {self.name}",
            lambda: self.account.cloudformation.create_change_set(
                StackName=self.name,
                ChangeSetName=name,
                ChangeSetType="CREATE" if is_first else "UPDATE",
                TemplateBody=template,
                Parameters=_parameters(parameters, known),
                Capabilities=["CAPABILITY_IAM"],
                Description="glidepost infra deploy",
            ),
        )
        return Plan(name, is_first, self._changes(name))

    def discard(self, plan: Plan) -> None:
        """Removes a change set, and the empty stack that the first one makes."""
        client = self.account.cloudformation
        attempt("remove the change set", lambda: client.delete_change_set(StackName=self.name, ChangeSetName=plan.name))
        if plan.is_first:
            attempt("remove the empty stack", lambda: client.delete_stack(StackName=self.name))

    def execute(self, plan: Plan, say: Say) -> None:
        """Carries a change set out, telling each event, and returns when it is done.

        Raises:
            GlidepostError: It failed, and was taken back.
        """
        self._skip_events()
        client = self.account.cloudformation
        attempt("carry out", lambda: client.execute_change_set(StackName=self.name, ChangeSetName=plan.name))
        self._wait(say, starting=(_NEW,) if plan.is_first else ())

    def delete(self, say: Say) -> None:
        """Removes the stack, telling each event, and returns when it is gone.

        Raises:
            GlidepostError: Something of it could not be removed.
        """
        self._skip_events()
        attempt(f"remove {self.name}", lambda: self.account.cloudformation.delete_stack(StackName=self.name))
        self._wait(say, starting=())

    def _is_first(self, found: Optional[StackTypeDef]) -> bool:
        status = found["StackStatus"] if found else _NEW
        if status == _NEW:
            return True
        if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}:
            raise GlidepostError(
                f"stack {self.name} is {status}: it was never made whole",
                hint=f"glidepost infra destroy --name {self.name}, then deploy again",
            )
        if status.endswith(_BUSY):
            raise GlidepostError(
                f"stack {self.name} is {status}", hint="somebody else is at work; wait until it is done"
            )
        return False

    def _changes(self, name: str) -> tuple[Change, ...]:
        client = self.account.cloudformation

        def describe() -> DescribeChangeSetOutputTypeDef:
            return client.describe_change_set(StackName=self.name, ChangeSetName=name)

        while True:
            said = attempt("change set", describe)
            if said["Status"] == "FAILED":
                reason = said.get("StatusReason", "")
                if any(words in reason for words in _NO_CHANGE):
                    return ()
                raise GlidepostError(f"CloudFormation refuses the change set: {reason}", hint="read what it names")
            if said["Status"] == "CREATE_COMPLETE":
                return tuple(
                    Change.from_aws(change) for change in said["Changes"]
                )  # one page holds far more than we have
            self.sleep(_STEP_S)

    def _wait(self, say: Say, starting: tuple[str, ...]) -> None:
        failures: list[str] = []
        while True:
            for text, is_failure in self._news():
                say(text)
                failures += [text] if is_failure else []
            found = self.find()
            status = found["StackStatus"] if found else "DELETE_COMPLETE"
            if status not in starting and not status.endswith(_BUSY):
                break
            self.sleep(_STEP_S)
        for text, is_failure in self._news() if found else ():
            say(text)
            failures += [text] if is_failure else []
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}:
            raise GlidepostError(
                f"stack {self.name} is {status}: {failures[0] if failures else 'CloudFormation does not say why'}",
                hint="what was made was taken back; the first line that failed says why",
            )

    def _skip_events(self) -> None:
        self._told.clear()
        if self.find():
            for _ in self._news():
                pass

    def _news(self) -> Iterator[tuple[str, bool]]:
        """Yields each event that was not yielded before, and whether it is a failure; the oldest first."""
        try:
            pages = list(
                self.account.cloudformation.get_paginator("describe_stack_events").paginate(StackName=self.name)
            )
        except botocore.exceptions.ClientError:  # gone with its stack
            return
        for event in reversed([event for page in pages for event in page["StackEvents"]]):
            if event["EventId"] in self._told:
                continue
            self._told.add(event["EventId"])
            status, reason = event.get("ResourceStatus", ""), event.get("ResourceStatusReason", "")
            what = f"{status.lower().replace('_', ' '):20} {event.get('LogicalResourceId', '')}"
            text = f"{event['Timestamp']:%H:%M:%S} {what}"
            yield (f"{text}: {reason}" if reason else text), status.endswith("FAILED")


def _parameters(wanted: Mapping[str, str], known: set[str]) -> list[ParameterTypeDef]:
    given: list[ParameterTypeDef] = [{"ParameterKey": name, "ParameterValue": value} for name, value in wanted.items()]
    kept: list[ParameterTypeDef] = [
        {"ParameterKey": name, "UsePreviousValue": True} for name in sorted(known - set(wanted))
    ]
    return [*given, *kept]


def _raise(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action
