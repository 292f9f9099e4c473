"""Which channels are told: from publisher.toml on the access point, from the environment in AWS Lambda."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import boto3

from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import AlertSettings, PublisherConfig
from glidepost.schema.secrets import read_two_lines

from .alerts import Audience
from .channels import Channel, Login, Mail, Publishes, Topic, Webhook

FORMS: Final = ("slack", "matrix")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def audience(config: PublisherConfig) -> Audience:
    """Returns who is told by publisher.toml.

    Raises:
        ConfigError: naming the key that must be changed.
    """
    page = f"{config.store.public_url.rstrip('/')}/{config.store.prefix}index.html"
    return Audience(tuple(channels(config.alerts)), page)


def audience_of_environment(environment: Mapping[str, str]) -> Audience:
    """Returns who is told by a function in AWS Lambda; ``GLIDEPOST_PAGE_URL`` is the page's address, for the messages.

    Raises:
        ConfigError: naming the variable that must be changed.
    """
    return Audience(tuple(channels_of_environment(environment)), environment.get("GLIDEPOST_PAGE_URL", ""))


def channels(settings: AlertSettings) -> list[Channel]:
    """Returns the channels of [alerts]; none without any.

    Raises:
        ConfigError: naming the key that must be changed.
    """
    found: list[Channel] = []
    if settings.webhook_file:
        url, token = _secret_address(Path(settings.webhook_file))
        found.append(Webhook(url, settings.webhook_format, token))
    if settings.mail_to:
        found.append(_mail(settings))
    return found


def _secret_address(path: Path) -> tuple[str, str]:
    """Returns the address in the first line of a file, and the bearer token in the second one, if there is one."""
    what = "[alerts] webhook_file:"
    url, token = read_two_lines(path, what, hint="its first line is the webhook's address, mode 0600")
    return _address(url.strip(), f"{what} {path}"), token.strip()


def _address(url: str, where: str) -> str:
    """Returns an address that may be used; the error never shows it."""
    hint = "it must be an https address; http is for this host only"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError as error:
        raise ConfigError(f"{where} holds no address", hint=hint) from error
    if not is_good or not parts.hostname:
        raise ConfigError(f"{where} holds no https address", hint=hint)
    return url


def _mail(settings: AlertSettings) -> Mail:
    if not settings.mail_from or not (settings.smtp or settings.sendmail):
        raise ConfigError(
            "[alerts] mail_to is set, and mail_from, or smtp and sendmail, are not",
            hint='write mail_from = "glidepost@example.org" and smtp = "localhost:25"',
        )
    host, _, port = (settings.smtp or "").partition(":")
    login = _login(Path(settings.smtp_login_file)) if settings.smtp and settings.smtp_login_file else None
    return Mail(settings.mail_from, settings.mail_to, host, int(port or 25), settings.sendmail or "", login)


def _login(path: Path) -> Login:
    what, hint = "[alerts] smtp_login_file:", "its first line is the user, its second one the password, mode 0600"
    user, password = (line.strip() for line in read_two_lines(path, what, hint=hint))
    if not user or not password:
        raise ConfigError(f"{what} {path} holds no user and password", hint=hint)
    return Login(user, password)


def channels_of_environment(environment: Mapping[str, str]) -> list[Channel]:
    """Returns the channels of a function in AWS Lambda.

    ``GLIDEPOST_ALERT_TOPIC`` is the ARN of a topic of SNS. ``GLIDEPOST_ALERT_WEBHOOK`` is an address, whose form is in
    ``GLIDEPOST_ALERT_FORMAT``, "slack" or "matrix", and whose bearer token is in ``GLIDEPOST_ALERT_TOKEN``.

    Raises:
        ConfigError: naming the variable that must be changed.
    """
    found: list[Channel] = []
    topic = environment.get("GLIDEPOST_ALERT_TOPIC", "")
    if topic:
        region = topic.split(":")[3] if topic.count(":") >= 5 else environment.get("AWS_REGION", "us-east-1")
        found.append(Topic(topic, cast("Publishes", boto3.client("sns", region_name=region))))
    url = environment.get("GLIDEPOST_ALERT_WEBHOOK", "")
    if url:
        form = environment.get("GLIDEPOST_ALERT_FORMAT") or FORMS[0]
        if form not in FORMS:
            raise ConfigError(f"GLIDEPOST_ALERT_FORMAT is {form!r}", hint=f"it is one of {', '.join(FORMS)}")
        token = environment.get("GLIDEPOST_ALERT_TOKEN", "")
        found.append(Webhook(_address(url, "GLIDEPOST_ALERT_WEBHOOK"), form, token))
    return found
