"""Where alerts go: a webhook (Slack's form, or Matrix'), mail, or a topic of SNS. One message at a time; the only I/O.

A channel that fails says so with an error, never with its secret address: a webhook's URL is a password.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final, Optional, Protocol
from urllib.parse import quote, urlsplit

import botocore.exceptions
import urllib3

from glidepost.schema.errors import GlidepostError

TIMEOUT_S: Final = 10.0
SUBMISSIONS_PORT: Final = 465  # RFC 8314: TLS from the first byte
_HINT: Final = "the next run tries again; nothing else depends on it"


@dataclass(frozen=True)
class Message:
    """What a channel sends. `id` is the same when the same message is tried again; `lines` are plain text."""

    id: str
    subject: str
    lines: tuple[str, ...]
    link: str = ""

    @property
    def text(self) -> str:
        """The whole as plain text."""
        return "\n".join([self.subject, *(f"- {line}" for line in self.lines), *([self.link] if self.link else [])])


class Channel(Protocol):
    """Sends messages; `name` is under which it is remembered what was told."""

    @property
    def name(self) -> str:
        """Such as "webhook"."""

    def send(self, message: Message) -> None:
        """Sends one; raises a GlidepostError when it may not have arrived."""


@dataclass(frozen=True)
class Webhook:
    """A JSON document to an address.

    "slack" is a POST of {"text": ...}, which Mattermost, Rocket.Chat and the webhooks of Matrix bridges take too.
    "matrix" is a PUT of an m.room.message; "{id}" in the address becomes the message's id, so that the server drops
    what is sent twice.
    """

    url: str
    form: str = "slack"
    token: Optional[str] = None
    name: str = "webhook"

    def send(self, message: Message) -> None:
        """Sends it once.

        Raises:
            GlidepostError: when nothing listens there, or the answer is no success.
        """
        method, body = webhook_body(message, self.form)
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(TIMEOUT_S))
        try:
            answer = http.request(
                method, self.url.replace("{id}", quote(message.id, safe="")), body=body, headers=headers, redirect=False
            )
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise GlidepostError(f"alert: webhook of {self._host()}: {type(error).__name__}", hint=_HINT) from None
        finally:
            http.clear()
        if not 200 <= answer.status < 300:
            raise GlidepostError(f"alert: webhook of {self._host()}: HTTP {answer.status}", hint=_HINT)

    def _host(self) -> str:
        """Returns what may be shown of the address."""
        try:
            return urlsplit(self.url).hostname or "?"
        except ValueError:
            return "?"


def webhook_body(message: Message, form: str) -> tuple[str, bytes]:
    """Returns the HTTP method and the JSON of a message. Slack's special characters are escaped: no line is a link.

    Shapes: Slack's "incoming webhooks"; the Matrix specification, m.room.message of type m.text.
    """
    if form == "matrix":
        items = "".join(f"<li>{_html(line)}</li>" for line in message.lines)
        html = f"<b>{_html(message.subject)}</b><ul>{items}</ul>{_html(message.link)}"
        data = {
            "msgtype": "m.text",
            "body": message.text,
            "format": "org.matrix.custom.html",
            "formatted_body": html,
        }
        return "PUT", json.dumps(data).encode()
    return "POST", json.dumps({"text": _html(message.text)}).encode()


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True)
class Login:
    """Who one is for a mail server."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Mail:
    """Plain text by SMTP (`host`), or handed to a program that works as sendmail does (`sendmail`).

    A password is for a server whose certificate is good; without one, TLS is better than nothing where it is offered.
    """

    sender: str
    recipients: tuple[str, ...]
    host: str = ""
    port: int = 25
    sendmail: str = ""
    login: Optional[Login] = None
    name: str = "mail"

    def send(self, message: Message) -> None:
        """Sends it to all.

        Raises:
            GlidepostError: when no server takes it, or takes it for some only.
        """
        mail = self.compose(message, datetime.now(timezone.utc))
        try:
            if self.sendmail:
                self._hand_over(mail)
            else:
                self._submit(mail)
        except smtplib.SMTPAuthenticationError as error:  # (its text may be an echo of what was sent)
            who = self.login.user if self.login else ""
            raise self._failure(f"the login as {who} is refused ({error.smtp_code})") from None
        except (OSError, smtplib.SMTPException, subprocess.SubprocessError) as error:
            raise self._failure(str(error)) from error

    def _failure(self, text: str) -> GlidepostError:
        way = self.sendmail or f"{self.host}:{self.port}"
        return GlidepostError(f"alert: mail by {way}: {' '.join(text.split())[:300]}", hint=_HINT)

    def compose(self, message: Message, now: datetime) -> EmailMessage:
        """Returns the mail. It says that a program wrote it, so that no vacation message answers."""
        mail = EmailMessage()
        mail["From"], mail["To"] = self.sender, ", ".join(self.recipients)
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = make_msgid(idstring=message.id[:32], domain=self.sender.rsplit("@", 1)[-1])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n\n".join([*message.lines, *([message.link] if message.link else [])]) + "\n")
        return mail

    def _submit(self, mail: EmailMessage) -> None:
        tls = ssl.create_default_context() if self.login else None
        is_private = self.port == SUBMISSIONS_PORT
        opened: smtplib.SMTP
        if is_private:
            opened = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=tls)
        else:
            opened = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        with opened as server:
            server.ehlo()
            if not is_private and server.has_extn("starttls"):
                server.starttls(context=tls)
                server.ehlo()
                is_private = True
            if self.login:
                if not is_private:
                    raise smtplib.SMTPNotSupportedError("it offers no TLS, and gets no password without")
                server.login(self.login.user, self.login.password)
            refused = server.send_message(mail)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)

    def _hand_over(self, mail: EmailMessage) -> None:
        argv = [self.sendmail, "-i", "-f", self.sender, "--", *self.recipients]
        subprocess.run(argv, input=mail.as_bytes(), check=True, capture_output=True, timeout=TIMEOUT_S)


class Publishes(Protocol):
    """boto3's SNS client, as far as it is used here."""

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> object:  # noqa: N803 - AWS' names
        """Sends one message."""


@dataclass(frozen=True)
class Topic:
    """A topic of Amazon SNS, whose subscribers get a mail."""

    arn: str
    client: Publishes
    name: str = "sns"

    def send(self, message: Message) -> None:
        """Publishes it. A subject there is ASCII, and at most 100 characters long.

        Raises:
            GlidepostError: when SNS refuses.
        """
        subject = message.subject.encode("ascii", "replace").decode()[:100]
        try:
            self.client.publish(TopicArn=self.arn, Subject=subject, Message=message.text)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise GlidepostError(f"alert: {self.arn}: {error}", hint=_HINT) from error
