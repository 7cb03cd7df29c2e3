"""Whether what a command printed fits what a page shows.

`...` stands for any text. What differs from run to run (times, durations, hashes, figures with a fraction) counts as
equal if it has the same form, so that a page can show a real value; blanks count as one, so that a page need not have
the width of a table.
"""

from __future__ import annotations

import re

_VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"-?\b[\d.,]+ (?:s|ms)(?= |$)", re.MULTILINE), "<duration>"),
    (re.compile(r"-?\b[\d.]+ (%|MB)(?= |$)", re.MULTILINE), r"<figure> \1"),
    (re.compile(r"(?<![\d.])-?\d+\.\d+(?:e[+-]?\d+)?(?![\d.])"), "<figure>"),
    (re.compile(r"\b[0-9a-f]{12,64}(?:-[0-9a-f]+)?\b"), "<hash>"),
    (re.compile(r"\bpid=\d+"), "pid=<number>"),
    (re.compile("▇+"), "▇"),
    (re.compile(r"={3,}"), "==="),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.MULTILINE), ""),
)
_WILDCARD = "..."


def fits(shown: str, printed: str) -> bool:
    """Return whether `printed` is what `shown` promises."""
    parts = [re.escape(part) for part in _even(shown).split(_WILDCARD)]
    return re.fullmatch(".*?".join(parts), _even(printed), re.DOTALL) is not None


def _even(text: str) -> str:
    """Return `text` without what differs from run to run."""
    text = text.replace("\r\n", "\n")
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text.strip()
