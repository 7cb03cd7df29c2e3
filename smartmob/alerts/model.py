"""The data of the feature `alerts`: rules, receivers, silences, alerts and notifications. No I/O."""

from __future__ import annotations

import re
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput

MAX_CONDITION_CHARACTERS = 500
MAX_PATTERN_CHARACTERS = 200
MAX_PATTERNS = 100  # patterns or receivers of one rule
MAX_ADDRESS_CHARACTERS = 2_000
MAX_SECRET_CHARACTERS = 500
MAX_TEXT_CHARACTERS = 2_000
MAX_SUMMARY_CHARACTERS = 500

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
NAME_RULE = "1 to 64 letters, digits, dots, hyphens and underscores, beginning with a letter or digit"

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
Source = Literal["stored", "settings"]
Format = Literal["json", "slack", "mail"]
Kind = Literal["firing", "repeated", "resolved", "test"]

Condition = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CONDITION_CHARACTERS)]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATTERN_CHARACTERS)]
Patterns = Annotated[list[Pattern], msgspec.Meta(max_length=MAX_PATTERNS)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARACTERS)]


class NewRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule to store.

    `condition` is a text such as `cpu > 90 for 5m`. `subjects` are patterns of the subjects that it is about, such as
    names of machines; an empty list means all. `receivers` are names; an empty list means all. `repeat` is in seconds:
    a firing alert is notified again after that time. `resolved` is whether the end of an alert is notified.
    """

    condition: Condition
    subjects: Patterns = []
    receivers: Patterns = []
    severity: Severity = "warning"
    repeat: Annotated[float, msgspec.Meta(ge=60, le=31_536_000)] | None = None
    resolved: bool = True


class Rule(NewRule, frozen=True, kw_only=True):
    """A stored rule; `source` is whether it was stored by a request or comes from the settings of the service."""

    name: str
    source: Source
    made_at: datetime

    def matches(self, subject: str) -> bool:
        """Return whether the rule applies to a subject."""
        return not self.subjects or any(fnmatchcase(subject, pattern) for pattern in self.subjects)


class NewReceiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver to store: an address that begins with https:// or http://, or mailto: with mail addresses.

    `format` is that of a webhook: `json`, or `slack` for services that accept only `{"text": …}`. With `secret`,
    requests are signed as the Standard Webhooks specification says.
    """

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ADDRESS_CHARACTERS)]
    format: Literal["json", "slack"] = "json"
    secret: Annotated[str, msgspec.Meta(max_length=MAX_SECRET_CHARACTERS)] = ""


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """A stored receiver, with its secrets; `format` is `mail` for mail addresses."""

    name: str
    address: str
    format: Format
    secret: str
    source: Source
    made_at: datetime


class ShownReceiver(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver without its secrets: `address` ends after the host; `signed` is whether the receiver has a secret."""

    name: str
    address: str
    format: Format
    signed: bool
    source: Source
    made_at: datetime


class NewSilence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A silence to store: no notifications for the next `seconds` where both patterns match."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
    rule: Pattern = "*"
    subject: Pattern = "*"
    text: Text = ""
    author: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A stored silence."""

    id: UUID
    rule: str
    subject: str
    until: datetime
    text: str
    author: str
    made_at: datetime

    def covers(self, rule: str, subject: str) -> bool:
        """Return whether notifications of a rule on a subject are held back."""
        return fnmatchcase(rule, self.rule) and fnmatchcase(subject, self.subject)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that fired. `notified_at` is null if all notifications were silenced, `resolved_at` while it is active.

    `cause` names the event that it is about, such as the id of a run; it is "" if its condition lasts. `reason` says
    why it is over. `owner` is the id of the data directory of the service that alone can see the subject, such as one
    of its processes; it is "" for subjects that every service on the database sees.
    """

    id: UUID
    rule: str
    subject: str
    cause: str
    condition: str
    severity: Severity
    summary: str
    value: float | None
    fired_at: datetime
    notified_at: datetime | None
    owner: str = ""
    resolved_at: datetime | None
    reason: str


class Pending(msgspec.Struct, frozen=True):
    """A subject that has been bad for `seconds`, which is shorter than its rule demands."""

    rule: str
    subject: str
    seconds: float


ConfiguredRule = tuple[str, NewRule]
ConfiguredReceiver = tuple[str, NewReceiver]
"""The name of a receiver in the settings, and the receiver."""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A message about an alert for one receiver. `batch` is the id under which it is sent together with others.

    Exactly one of `sent_at` and `failed_at` is set once it was sent, or was given up for the reason `error`.
    """

    id: UUID
    receiver: str
    alert: UUID
    kind: Kind
    made_at: datetime
    due_at: datetime
    batch: UUID | None
    attempts: int
    sent_at: datetime | None
    failed_at: datetime | None
    error: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Notifications that are sent together; `id` is the same at each attempt."""

    id: UUID
    receiver: str
    attempts: int
    made_at: datetime
    alerts: list[dict[str, Any]]


def check_name(where: str, name: str) -> str:
    """Return a name of a rule or a receiver. Raises InvalidInput at `where`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput.at(where, f"expected a name of {NAME_RULE}, got {name!r}")
    return name


def one_line(text: str, most: int = MAX_SUMMARY_CHARACTERS) -> str:
    """Return a text that others chose as one printable line of at most `most` characters."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= most else line[: most - 1] + "…"
