"""Figures that cannot be measured: their description in a line, and the moments at which that changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from smartmob.hosts.fields import TEMPERATURES, Snapshot, StaleFigure

_QUIET_SECONDS = 600.0
"""Seconds in which a figure that comes and goes is mentioned once."""


def stale_text(snapshot: Snapshot) -> str:
    """Return in one line which figures are stale, for how long and why; an empty text without any.

    Sensors that never had a value are left out: many machines have one.
    """
    parts = []
    for name, figure in snapshot.stale.items():
        if figure.value is None and name.startswith(TEMPERATURES):
            continue
        age = "" if figure.age is None else f" for {figure.age:.0f} s"
        parts.append(f"{name} is stale{age} ({figure.reason})")
    return "; ".join(parts)


class StaleChanges:
    """Notices when figures become stale, and when they are measured again. `seconds` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}
        self._mentioned: set[str] = set()

    def of(self, snapshot: Snapshot) -> Iterator[tuple[str, StaleFigure | None]]:
        """Yield each figure that changed, with what is stale, or with None when it is measured again."""
        now = self._seconds()
        for name, figure in snapshot.stale.items():
            if name not in self._mentioned and now - self._since.get(name, -_QUIET_SECONDS) >= _QUIET_SECONDS:
                self._since[name] = now
                self._mentioned.add(name)
                yield name, figure
        for name in sorted(self._mentioned - snapshot.stale.keys()):
            self._mentioned.discard(name)
            yield name, None
