"""Durations as a person types them: 90s, 1m30s, 6h, 14d."""

from __future__ import annotations

import re

from smartmob.errors import SettingsError

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_LONGEST_SECONDS = 1e10


def duration_seconds(option: str, text: str, *, may_be_zero: bool = False) -> float:
    """Return a duration in seconds; raises SettingsError that names the option."""
    value = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    is_whole = re.fullmatch(f"(?:{_PART.pattern})+", text) is not None or (may_be_zero and text == "0")
    if not is_whole or not (0 < value < _LONGEST_SECONDS or (may_be_zero and value == 0)):
        raise SettingsError(f"{option} {text}: expected a duration such as 90s, 1m30s, 6h or 14d")
    return value
