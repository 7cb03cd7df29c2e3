"""Words of verdicts: what people read in the terminal, on pages, in reports and in documents, for each key of the code.

The keys are stable: JSON documents, types in JUnit XML, routes and options have them.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "regression": "slower",
    "suspect": "maybe slower",
    "unfit": "cannot tell",
    "improvement": "faster",
    "gone": "gone",
    "new": "new",
    "noise": "no change",
    "same": "no change",
    "incomparable": "cannot be compared",
    "shift": "machine slower or faster",
}
"""The word of each key. `same` and `incomparable` are keys of load tests, `shift` is one of `--fail-on`; a key that is
not listed is its own word."""

SHORT = 12
"""Characters of a commit or of the hash of a run that are shown."""

_SIZES = (("slower", "larger"), ("faster", "smaller"))
_TIMES = ("total_time", "user_time", "kernel_time")


def word(key: str, resource: str = "total_time") -> str:
    """Return the word of a key; more of a resource that is no time is `larger`, less of it `smaller`."""
    found = WORDS.get(key, key)
    if resource not in _TIMES:
        for time, size in _SIZES:
            found = found.replace(time, size)
    return found


def still(since: str, resource: str = "total_time") -> str:
    """Return the word of a test that is as slow as in the run before, but slower than before the commit `since`."""
    return f"still {word('regression', resource)} since {since[:SHORT]}"


def key_of(text: str) -> str:
    """Return the key that a person means by a key or by its word, written with spaces or hyphens."""
    wanted = text.strip().replace("-", " ")
    return next((key for key, found in WORDS.items() if found == wanted), text.strip())


def option(key: str) -> str:
    """Return the word of a key as an option is written: `maybe-slower`."""
    return key if key == "shift" else WORDS.get(key, key).replace(" ", "-")
