"""The bound on how deeply JSON may be nested, whatever decodes it later and whatever walks its values then."""

from __future__ import annotations

import re
from itertools import accumulate

from smartmob.errors import InvalidInput

MOST_LEVELS = 64
"""Levels of lists and objects; clients never need more than a few."""

_PASSES = 4
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_TEXT = re.compile(rb'"[^"]*"?')
_ROUND = bytes.maketrans(b"[]{}", b"()()")
_OTHER = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = [1 if byte == ord("(") else -1 for byte in range(256)]


def check(data: bytes | str, where: str = "$") -> None:
    """Raise InvalidInput for JSON of more than MOST_LEVELS levels."""
    if is_too_deep(data):
        raise InvalidInput.at(where, f"the body is nested too deeply, in more than {MOST_LEVELS} levels")


def is_too_deep(data: bytes | str) -> bool:
    """Return whether JSON has more than MOST_LEVELS levels, in a time that grows with its size alone.

    Several documents, one behind the other, are each held against it. Of what is no JSON either may be said.
    """
    if isinstance(data, str):
        if data.count("[") + data.count("{") <= MOST_LEVELS:
            return False
        data = data.encode(errors="replace")
    elif data.count(b"[") + data.count(b"{") <= MOST_LEVELS:
        return False
    if b"\\" in data:
        data = _ESCAPED.sub(b"", data)
    marks = _TEXT.sub(b"", data.translate(_ROUND, _OTHER).replace(b'""', b""))
    # Each pass takes the innermost level away, and of what is usual there is nothing left then.
    for passed in range(1, _PASSES + 1):
        marks = marks.replace(b"()", b"")
        if marks.count(b"(") + passed <= MOST_LEVELS:
            return False
    return max(accumulate(map(_STEPS.__getitem__, marks)), default=0) + _PASSES > MOST_LEVELS
