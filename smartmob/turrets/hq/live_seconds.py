"""The last seconds of a run for the live view: the values of each timer, bounded in size. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import Slice

LIVE_CHARACTERS = 8 * 1024 * 1024
"""Characters that the slices of one second may have: base64, so as many bytes."""

_LIVE_SECONDS = 8


class LiveSeconds:
    """The outcomes and slices of the last seconds, by second and timer."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[str, list[Outcomes | Slice]]] = {}
        self._characters: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def of(self, second: int) -> Mapping[str, Sequence[Outcomes | Slice]]:
        """Return the parts of a second, by timer."""
        return self._parts.get(second, {})

    def add(self, second: int, timer: str, part: Outcomes | Slice) -> None:
        """Keep a part of a second until eight later seconds have come; drop slices beyond the limit."""
        if isinstance(part, Slice):
            # Without this limit, a turret that sends many slices of one second would fill the memory.
            size = self._characters.get(second, 0) + size_of(part)
            if size > LIVE_CHARACTERS:
                return
            self._characters[second] = size
        self._parts.setdefault(second, {}).setdefault(timer, []).append(part)
        if len(self._parts) > _LIVE_SECONDS:
            first = min(self._parts)
            del self._parts[first]
            self._characters.pop(first, None)


def size_of(part: Slice) -> int:
    """Return the size of a slice in characters."""
    return len(part.histogram) + len(part.timer) + (sum(map(len, part.errors)) if part.errors else 0)
