"""Fields that cannot be measured: their description in a line, and the moments at which that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from smartmob.hosts.fields import TEMPERATURES, Snapshot, StaleField

_QUIET_SECONDS = 600.0
"""Seconds in which a field that comes and goes is mentioned once."""


def stale_text(snapshot: Snapshot) -> str:
    """Return in one line which fields are stale, for how long and why; an empty text without any.

    Sensors that never had a value are left out: many machines have one.
    """
    parts = []
    for name, field in snapshot.stale.items():
        if field.value is None and name.startswith(TEMPERATURES):
            continue
        age = "" if field.age is None else f" for {field.age:.0f} s"
        parts.append(f"{name} is stale{age} ({field.reason})")
    return "; ".join(parts)


class StaleChanges:
    """Notices when fields become stale, and when they are measured again. `seconds` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._mentioned: set[str] = set()

    def of(self, snapshot: Snapshot) -> Iterator[tuple[str, StaleField | None]]:
        """Yield each field that changed, with what is stale, or with None when it is measured again."""
        now = self._seconds()
        for name, field in snapshot.stale.items():
            if name not in self._mentioned and now - self._since.get(name, -_QUIET_SECONDS) >= _QUIET_SECONDS:
                self._since[name] = now
                self._mentioned.add(name)
                yield name, field
        for name in sorted(self._mentioned - snapshot.stale.keys()):
            self._mentioned.discard(name)
            yield name, None
