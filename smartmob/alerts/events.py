"""The events that the feature `alerts` publishes."""

from __future__ import annotations

import msgspec

from smartmob.alerts.model import Alert


class AlertFired(msgspec.Struct, frozen=True):
    """An alert fires; it is stored."""

    alert: Alert


class AlertResolved(msgspec.Struct, frozen=True):
    """An alert is over; it is stored."""

    alert: Alert
