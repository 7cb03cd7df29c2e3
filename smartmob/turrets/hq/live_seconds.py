"""The last seconds of a run, for those who watch it: what came of each timer, within a bound in bytes. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import Distribution

LIVE_BYTES = 8 * 1024 * 1024
"""Characters that the slices of one second may have."""

_LIVE_SECONDS = 8


class LiveSeconds:
    """What came of the last seconds."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[str, list[Distribution | Slice]]] = {}
        self._bytes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def of(self, second: int) -> Mapping[str, Sequence[Distribution | Slice]]:
        """Return what came of a second, by timer."""
        return self._parts.get(second, {})

    def add(self, second: int, timer: str, part: Distribution | Slice) -> None:
        """Keep a part of a second until eight later ones have come; slices beyond the bound are left out."""
        if isinstance(part, Slice):
            # Those of a peer that sends without end would stay in memory for some seconds.
            size = self._bytes.get(second, 0) + size_of(part)
            if size > LIVE_BYTES:
                return
            self._bytes[second] = size
        self._parts.setdefault(second, {}).setdefault(timer, []).append(part)
        if len(self._parts) > _LIVE_SECONDS:
            first = min(self._parts)
            del self._parts[first]
            self._bytes.pop(first, None)


def size_of(part: Slice) -> int:
    """Return how many characters a slice holds."""
    return len(part.histogram) + len(part.timer) + (sum(map(len, part.errors)) if part.errors else 0)
