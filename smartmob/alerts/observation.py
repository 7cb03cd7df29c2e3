"""Observations: what was seen of the subjects of a rule. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from smartmob.alerts.state_machine import Health


@dataclass(frozen=True, slots=True)
class Observation:
    """One subject as it was seen. `summary` is a sentence for people, `value` the figure, `cause` the single event."""

    subject: str
    health: Health
    summary: str = ""
    value: float | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Observations:
    """All observations for one rule.

    If `complete`, `found` names all subjects there are, and an alert on any other is over for the reason
    `gone`.
    """

    found: tuple[Observation, ...]
    complete: bool = False
    gone: str = ""
