"""The limit on how deeply JSON may be nested. It is checked before decoding, and protects all later recursion."""

from __future__ import annotations

import re
from itertools import accumulate

from smartmob.errors import InvalidInput

MAX_LEVELS = 64
"""Levels of lists and objects; the known clients need fewer than ten."""

_PASSES = 4  # passes that remove the innermost level; ordinary documents have no more levels than that
_PART_BYTES = 16 * 1024  # brackets that are counted at a time: most hostile documents end with the first ones
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_TEXT = re.compile(rb'"[^"]*"?')
_TO_PARENTHESES = bytes.maketrans(b"[]{}", b"()()")
_OTHER_BYTES = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = [1 if byte == ord("(") else -1 for byte in range(256)]


def check(data: bytes | str, where: str = "$") -> None:
    """Raise InvalidInput for JSON of more than MAX_LEVELS levels."""
    if is_too_deep(data):
        raise InvalidInput.at(where, f"the body is nested too deeply, in more than {MAX_LEVELS} levels")


def is_too_deep(data: bytes | str) -> bool:
    """Return whether JSON has more than MAX_LEVELS levels, in time linear in its size.

    `data` may hold several documents one after the other; the limit applies to each. The result is meaningless for text
    that is not JSON.
    """
    if isinstance(data, str):
        if data.count("[") + data.count("{") <= MAX_LEVELS:
            return False
        data = data.encode(errors="replace")
    elif data.find(b"[") == data.rfind(b"[") and data.find(b"{") == data.rfind(b"{"):
        return False  # at most one bracket of each kind, as in most metrics; counting takes three times as long
    elif data.count(b"[") + data.count(b"{") <= MAX_LEVELS:
        return False
    if b"\\" in data:
        data = _ESCAPED.sub(b"", data)
    brackets = _TEXT.sub(b"", data.translate(_TO_PARENTHESES, _OTHER_BYTES).replace(b'""', b""))
    # Each pass removes the innermost level, which leaves nothing of an ordinary document.
    for passed in range(1, _PASSES + 1):
        brackets = brackets.replace(b"()", b"")
        if brackets.count(b"(") + passed <= MAX_LEVELS:
            return False
    level = _PASSES
    for start in range(0, len(brackets), _PART_BYTES):
        steps = map(_STEPS.__getitem__, brackets[start : start + _PART_BYTES])
        levels = list(accumulate(steps, initial=level))
        if max(levels) > MAX_LEVELS:
            return True
        level = levels[-1]
    return False
