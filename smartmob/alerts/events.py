"""The events that the feature `alerts` publishes."""

from __future__ import annotations

from dataclasses import dataclass

from smartmob.alerts.model import Alert


@dataclass(frozen=True, slots=True)
class AlertFired:
    """An alert fires; it is stored."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class AlertResolved:
    """An alert is over; it is stored."""

    alert: Alert
