"""Durations as text for people."""

from __future__ import annotations

NOTHING = "-"
_LEAST = 0.5e-6
"""Seconds below which a duration is shown as 0: it would be 0 or -0 microseconds."""


def seconds(value: float | None) -> str:
    """Return a duration of `value` seconds with a fitting unit and at least three digits; "-" for None."""
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
    return f"{value * 1e6:.0f} µs"
