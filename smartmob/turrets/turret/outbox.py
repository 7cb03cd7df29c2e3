"""The outgoing messages of a turret, numbered and kept until the headquarters acknowledges them. No I/O."""

from __future__ import annotations

from collections import deque

MOST_MESSAGES = 200_000
MOST_BYTES = 64 * 1024 * 1024
"""Limits of the messages that are kept; above them firing is paused."""


class Outbox:
    """A queue of messages in the order of their numbers: sent but not acknowledged ones, then unsent ones.

    Without numbers (for a headquarters of OCT) a message is removed as soon as it is sent.
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
        """Return whether firing must pause."""
        return len(self) >= MOST_MESSAGES or self.bytes >= MOST_BYTES

    def number(self) -> int:
        """Return the next sequence number."""
        self.sequence += 1
        return self.sequence

    def put(self, frame: bytes) -> None:
        """Append the message with the number that `number` returned last."""
        self._waiting.append(frame)
        self.bytes += len(frame)

    def next(self) -> bytes | None:
        """Return the next message to send without removing it, or None."""
        return self._waiting[0] if self._waiting else None

    def sent(self) -> None:
        """Record that the next message was sent."""
        frame = self._waiting.popleft()
        if self.numbered:
            self._unacknowledged.append(frame)
        else:
            self.bytes -= len(frame)

    def acknowledge(self, sequence: int) -> None:
        """Remove all messages up to this number."""
        behind = self.sequence - sequence
        for queue in (self._unacknowledged, self._waiting):
            while queue and len(self) > behind:
                self.bytes -= len(queue.popleft())

    def repeat(self) -> None:
        """Queue all messages that are not acknowledged to be sent again, in their order."""
        self._unacknowledged.extend(self._waiting)
        self._waiting, self._unacknowledged = self._unacknowledged, deque()

    def discard(self) -> int:
        """Remove all messages; return how many there were."""
        count = len(self)
        self._waiting.clear()
        self._unacknowledged.clear()
        self.bytes = 0
        return count
