"""Observations of the subjects of a rule. No I/O."""

from __future__ import annotations

import msgspec

from smartmob.alerts.state_machine import SubjectHealth


class Observation(msgspec.Struct, frozen=True):
    """One subject as it was seen. `summary` is a sentence for people, `value` that of the field, `cause` an event."""

    subject: str
    health: SubjectHealth
    summary: str = ""
    value: float | None = None
    cause: str = ""


class Observations(msgspec.Struct, frozen=True):
    """All observations for one rule.

    If `complete`, `found` names all existing subjects, and an alert on any other subject is over for the reason `gone`.
    """

    found: tuple[Observation, ...]
    complete: bool = False
    gone: str = ""
