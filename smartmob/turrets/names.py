"""The names of timers: one rule, which turrets and the headquarters apply before they count anything. No I/O.

Applying the rule to a name that it returned changes nothing, so it does not matter how often it is applied.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

ALL_TRANSACTIONS = "All transactions"
"""The name of the statistics of the transactions themselves, beside those of the timers."""

FURTHER_TIMERS = "(further timers)"
"""The name under which timers beyond the limit of a run are counted together."""

UNNAMED = "(unnamed)"
"""The name of a timer whose name is empty, blank or invisible."""

LONGEST_TIMER_NAME = 200
"""Characters of a name; a longer one ends with a hash, so that two long names stay different."""

INVISIBLE = "\u00ad\u115f\u1160\u2800\u3164\uffa0 "
"""Characters that are drawn as an empty space, besides those that are unprintable."""

_HASH_DIGITS = 12  # characters of the hash, in base 16
_SUFFIX = " (timer)"
UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]")
_MOST_REMEMBERED = 4096  # names
_unchanged_names: set[str] = set()
"""Names that `timer_name` has returned unchanged, at most `_MOST_REMEMBERED`."""


@lru_cache(_MOST_REMEMBERED)
def timer_name(name: str) -> str:
    """Return the name under which a timer is counted: readable, never empty, and unlike those with a meaning here.

    The name is normalised (NFC), so that two spellings of one letter are one name. Unprintable characters and lone
    surrogates become U+FFFD, blanks at both ends are removed, and a reserved name gets the suffix " (timer)".
    """
    own = counted_name(name)
    if own == FURTHER_TIMERS:
        return own + _SUFFIX
    if own == name and len(_unchanged_names) < _MOST_REMEMBERED:
        _unchanged_names.add(name)
    return own


@lru_cache(_MOST_REMEMBERED)
def counted_name(name: str) -> str:
    """Return the name of a timer in a slice as `timer_name` does; there `FURTHER_TIMERS` has its meaning."""
    text = name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = UNPRINTABLE.sub("\ufffd", unicodedata.normalize("NFC", text)).strip()
    if len(text) > LONGEST_TIMER_NAME:
        digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
        text = f"{text[: LONGEST_TIMER_NAME - _HASH_DIGITS - 1].rstrip()}…{digest}"
    if not text.strip(INVISIBLE):
        return UNNAMED
    return text + _SUFFIX if text == ALL_TRANSACTIONS else text


def by_timer(values: dict[str, T]) -> dict[str, T]:
    """Return values by the counted names of their timers; a second value for one name gets the name with " (2)".

    Values whose names are known to stay as they are, as in nearly all results, are returned themselves.
    """
    if _unchanged_names.issuperset(values):
        return values
    named = {timer_name(name): value for name, value in values.items()}
    return named if len(named) == len(values) else _numbered(values)


def _numbered(values: dict[str, T]) -> dict[str, T]:
    """Return values by the names of their timers, of which some are alike: the later ones get a number."""
    named: dict[str, T] = {}
    for given, value in values.items():
        name = wanted = timer_name(given)
        number = 2
        while name in named:
            name = timer_name(f"{wanted[: LONGEST_TIMER_NAME - 8]} ({number})")
            number += 1
        named[name] = value
    return named
