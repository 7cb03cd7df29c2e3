"""The known name that a person may have meant by an unknown one."""

from __future__ import annotations

from collections.abc import Iterable

_MOST_NAMES = 20_000  # that are compared; each takes some 10 µs


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`, or None if none is like it.

    A name that differs by case or contains `name` comes before one with other letters.
    """
    from difflib import get_close_matches

    names = [each for _, each in zip(range(_MOST_NAMES), known, strict=False)]
    folded = name.casefold()
    for each in names:
        if each.casefold() == folded:
            return each
    inside = [each for each in names if len(folded) > 2 and folded in each.casefold()]
    if inside:
        return min(inside, key=len)
    close = get_close_matches(folded, [each.casefold() for each in names], n=1)
    return next((each for each in names if each.casefold() == close[0]), None) if close else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about an unknown name: the name that was meant, or else `otherwise`."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near is not None else f"; {otherwise}" if otherwise else ""
