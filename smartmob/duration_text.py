"""Durations as text for people."""

from __future__ import annotations

NOTHING = "-"
_LEAST = 0.005e-9
"""Seconds below which a duration is shown as 0: it would be 0.00 or -0.00 nanoseconds."""


def seconds(value: float | None) -> str:
    """Return a duration of `value` seconds with a fitting unit and three digits or more; "-" for None."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size < _LEAST:
        value = size = 0.0
    if size >= 100 or (value == int(value) and size >= 10):
        return f"{value:,.0f} s"
    if size >= 1:
        return f"{value:.2f} s"
    if size >= 0.01 or value == 0:
        return f"{value * 1e3:.1f} ms"
    if size >= 0.001:
        return f"{value * 1e3:.2f} ms"
    return _short(value * 1e6, "µs") if size >= 1e-6 else _short(value * 1e9, "ns")


def _short(value: float, unit: str) -> str:
    """Return a value with its unit and three digits, as far as two decimals show them."""
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f} {unit}"
