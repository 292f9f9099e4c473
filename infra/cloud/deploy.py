"""Deploying: what a person wishes becomes parameters, a change set, a stack, and files that the publisher reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional

from glidepost.schema.errors import ConfigError, GlidepostError
from glidepost.schema.files import write_atomic
from glidepost.schema.secrets import read_two_lines

from . import code, keys
from .package import Package, Target
from .policy import page_policy
from .stack import Plan, Say, Stack

TEMPLATE: Final = Path(__file__).parents[1] / "template.yaml"
STORE_FILE: Final = "store.toml"
PUBLISHER_FILE: Final = "publisher.ini"
FORMS_FILE: Final = "forms.ini"


@dataclass(frozen=True)
class Wishes:
    """What a person chooses about a stack. None leaves it as it is, or as the template has it."""

    name: str = "glidepost"
    pool: Optional[str] = None
    mail: Optional[str] = None
    budget_usd: Optional[int] = None
    log_days: Optional[int] = None
    glidein_log_days: Optional[int] = None
    reserved_concurrency: Optional[int] = None
    domain: Optional[str] = None
    certificate: Optional[str] = None
    webhook_file: Optional[Path] = None
    webhook_format: Optional[str] = None

    def parameters(self) -> dict[str, str]:
        """Returns the template's parameters that these choose.

        Raises:
            ConfigError: A domain without its certificate, or the other way round; a webhook's file open to others.
        """
        if bool(self.domain) != bool(self.certificate):
            raise ConfigError(
                "--domain and --certificate go together",
                hint="ask ACM in us-east-1 for a certificate of the domain, and give its ARN",
            )
        url, token = _webhook(self.webhook_file) if self.webhook_file else (None, None)
        chosen = {
            "Pool": self.pool,
            "AlarmMail": self.mail,
            "MonthlyBudgetUSD": self.budget_usd,
            "LogDays": self.log_days,
            "GlideinLogDays": self.glidein_log_days,
            "ReservedConcurrency": self.reserved_concurrency,
            "DomainName": self.domain,
            "CertificateArn": self.certificate,
            "AlertWebhook": url,
            "AlertToken": token,
            "AlertFormat": self.webhook_format,
        }
        return {name: str(value) for name, value in chosen.items() if value is not None}


def _webhook(path: Path) -> tuple[str, str]:
    """Returns the address in a file's first line, and the token in its second, "" where there is none."""
    what, hint = "--webhook-file", "its first line is the webhook's address"
    url, token = read_two_lines(path, what, hint=hint)
    if not url.startswith("https://"):
        raise ConfigError(f"{what} {path} holds no https address", hint=hint)
    return url.strip(), token.strip()


@dataclass(frozen=True)
class Deployed:
    """A stack that stands, and the files that were written for its publisher."""

    stack: str
    bucket: str
    public_url: str
    store_file: Path
    publisher: keys.Kept
    forms: keys.Kept


def plan(stack: Stack, wishes: Wishes, package: Package) -> Plan:
    """Returns what a deployment would change; nothing but a waiting change set is made.

    Raises:
        GlidepostError: see `Stack.plan`.
    """
    parameters = {
        **wishes.parameters(),
        **code_parameters(package.target, code.bucket_of(stack.account), code.key_of(stack.name, package)),
    }
    return stack.plan(TEMPLATE.read_text(encoding="utf-8"), parameters)


def code_parameters(target: Target, bucket: str, key: str) -> dict[str, str]:
    """Returns the parameters that say which code runs, and what its pages may do."""
    return {
        "CodeBucket": bucket,
        "CodeKey": key,
        "Runtime": target.runtime,
        "Architecture": target.architecture,
        "PagePolicy": page_policy(),
    }


def carry_out(stack: Stack, plan: Plan, package: Package, say: Say) -> None:
    """Uploads the code and changes the stack; returns when it is done. Without changes, removes the change set.

    Raises:
        GlidepostError: AWS refuses; what was changed is taken back.
    """
    if not plan.changes:
        stack.discard(plan)
        return
    say(f"uploading {package.size_bytes / 1e6:.1f} MB of code")
    code.upload(stack.account, stack.name, package)
    stack.execute(plan, say)


def hand_over(stack: Stack, folder: Path, *, new_keys: bool) -> Deployed:
    """Writes the publisher's [store] and the two credentials files, and returns what is where.

    Raises:
        GlidepostError: The stack has no outputs, or no keys could be made.
    """
    outputs = stack.outputs()
    missing = {"BucketName", "PublicUrl", "PublisherUser", "MinterUser"} - set(outputs)
    if missing:
        raise GlidepostError(
            f"stack {stack.name} has no output {', '.join(sorted(missing))}", hint="is it a stack of Glidepost's?"
        )
    folder.mkdir(parents=True, exist_ok=True)
    iam = stack.account.iam
    publisher = keys.ensure(iam, outputs["PublisherUser"], folder / PUBLISHER_FILE, renew=new_keys)
    forms = keys.ensure(iam, outputs["MinterUser"], folder / FORMS_FILE, renew=new_keys)
    file = folder / STORE_FILE
    write_atomic(file, store_toml(outputs, stack.account.region, stack.account.endpoint).encode())
    return Deployed(stack.name, outputs["BucketName"], outputs["PublicUrl"], file, publisher, forms)


def store_toml(outputs: Mapping[str, str], region: str, endpoint: Optional[str] = None) -> str:
    """Returns the [store] table of publisher.toml; relative paths are those of the credentials files beside it."""
    values = {
        "bucket": outputs["BucketName"],
        "public_url": outputs["PublicUrl"],
        "region": region,
        **({"endpoint": endpoint} if endpoint else {}),
        "credentials": PUBLISHER_FILE,
        "forms_credentials": FORMS_FILE,
    }
    return "\n".join(["[store]", *(f"{name} = {json.dumps(value)}" for name, value in values.items()), ""])
