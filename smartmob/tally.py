"""Counts by kind, each kind with a first example, for the account of an import."""

from __future__ import annotations

from typing import Any

LONGEST_EXAMPLE = 300  # characters


class Tally:
    """Counts by kind, in the order in which the kinds first occurred, each with its first example."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one more of a kind."""
        count, first = self._kinds.get(kind, (0, example[:LONGEST_EXAMPLE]))
        self._kinds[kind] = count + 1, first

    def count(self, kind: str) -> int:
        """Return the number of a kind."""
        return self._kinds.get(kind, (0, ""))[0]

    @property
    def total(self) -> int:
        """Return the number of all kinds together."""
        return sum(count for count, _ in self._kinds.values())

    def items(self) -> list[tuple[str, int, str]]:
        """Return kind, number and first example of each kind."""
        return [(kind, count, example) for kind, (count, example) in self._kinds.items()]

    def document(self) -> dict[str, dict[str, Any]]:
        """Return the counts for JSON."""
        return {kind: {"count": count, "example": example} for kind, count, example in self.items()}
