"""The known name that a person may have meant by an unknown one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from smartmob.errors import NotFound, RemoteError

_MOST_NAMES = 20_000  # names that are compared; each takes some 10 µs
_MOST_CLOSE = 5  # names whose edits are counted
_LETTERS_PER_EDIT = 3
"""A name of this many letters may differ by one edit, a name of twice as many by two, as in git and cargo."""
_NOT_A_NAME = (400, 404)
"""The answers to an unknown name, and to one that cannot be an id."""

Names = Callable[[], Awaitable[Iterable[str]]]


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
    close = get_close_matches(folded, [each.casefold() for each in names], n=_MOST_CLOSE)
    near = min(close, key=lambda each: _edits(folded, each), default=None)
    if near is None or _edits(folded, near) > max(1, len(folded) // _LETTERS_PER_EDIT):
        return None
    return next((each for each in names if each.casefold() == near), None)


def _edits(one: str, other: str) -> int:
    """Return the number of letters to insert, leave out, replace or swap with the next one (Damerau, 1964)."""
    before, last = list[int](), list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, wanted in enumerate(other, 1):
            least = min(last[column] + 1, now[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted:
                least = min(least, before[column - 2] + 1)
            now.append(least)
        before, last = last, now
    return last[-1]


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about an unknown name: the name that was meant, or else `otherwise`."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near is not None else f"; {otherwise}" if otherwise else ""


@asynccontextmanager
async def meant(
    name: str, names: Names, otherwise: str, elsewhere: Callable[[], Awaitable[str]] | None = None
) -> AsyncIterator[None]:
    """Turn the service's error for an unknown name into NotFound with the name that was meant, or else `otherwise`.

    `elsewhere` returns the end of the message if the name is known elsewhere, or an empty text.
    """
    try:
        yield
    except RemoteError as error:
        if error.status not in _NOT_A_NAME:
            raise
        if elsewhere is not None and (ending := await elsewhere()):
            raise NotFound(f"{str(error).partition(';')[0]}{ending}") from None
        known = await names()
        raise NotFound(f"{str(error).partition(';')[0]}{did_you_mean(name, known, otherwise)}") from None
