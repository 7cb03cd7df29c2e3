"""Durations as a person types them: 90s, 15m, 6h, 14d."""

from __future__ import annotations

from smartmob.errors import SettingsError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration_seconds(option: str, text: str) -> float:
    """Return a duration in seconds; raises SettingsError that names the option."""
    try:
        value = float(text[:-1]) * _UNITS.get(text[-1:], 0)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e10:
        raise SettingsError(f"{option} {text}: expected a duration such as 90s, 15m, 6h or 14d")
    return value
