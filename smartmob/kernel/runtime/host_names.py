"""Comparing the names of hosts."""

from __future__ import annotations


def is_same_host(one: str, other: str) -> bool:
    """Return whether two names mean the same host: case does not matter, and one of them may lack its domain."""
    first, second = one.lower(), other.lower()
    return first == second or first == second.partition(".")[0] or first.partition(".")[0] == second
