"""Numbers with their nouns, as text for people."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 timer", "2 timers", "1,200 files"; `plural` is that of a noun without -s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
