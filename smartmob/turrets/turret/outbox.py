"""What a turret has to deliver: numbered and kept until it is acknowledged. No I/O."""

from __future__ import annotations

from collections import deque

MOST_MESSAGES = 200_000
MOST_BYTES = 64 * 1024 * 1024
"""What may be kept; firing waits when there is more."""


class Outbox:
    """Messages in the order of their numbers: those that were sent but not acknowledged, then those to be sent.

    Without numbers (towards a headquarters of OCT) a message is forgotten as soon as it was sent.
    """

    def __init__(self, *, numbered: bool = True) -> None:
        self.numbered = numbered
        self.sequence = 0
        self.bytes = 0
        self._unacknowledged: deque[bytes] = deque()
        self._waiting: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._unacknowledged) + len(self._waiting)

    @property
    def full(self) -> bool:
        """Tell whether firing must wait."""
        return len(self) >= MOST_MESSAGES or self.bytes >= MOST_BYTES

    def number(self) -> int:
        """Give out the next number."""
        self.sequence += 1
        return self.sequence

    def put(self, frame: bytes) -> None:
        """Keep the message of the number that was given out last."""
        self._waiting.append(frame)
        self.bytes += len(frame)

    def next(self) -> bytes | None:
        """Return the message to be sent next, without taking it."""
        return self._waiting[0] if self._waiting else None

    def sent(self) -> None:
        """Note that the next message was sent."""
        frame = self._waiting.popleft()
        if self.numbered:
            self._unacknowledged.append(frame)
        else:
            self.bytes -= len(frame)

    def acknowledge(self, sequence: int) -> None:
        """Forget everything up to this number."""
        behind = self.sequence - sequence
        for queue in (self._unacknowledged, self._waiting):
            while queue and len(self) > behind:
                self.bytes -= len(queue.popleft())

    def repeat(self) -> None:
        """Let everything that is not acknowledged be sent again, in its order."""
        self._unacknowledged.extend(self._waiting)
        self._waiting, self._unacknowledged = self._unacknowledged, deque()

    def discard(self) -> int:
        """Forget everything; return how many messages that were."""
        count = len(self)
        self._waiting.clear()
        self._unacknowledged.clear()
        self.bytes = 0
        return count
