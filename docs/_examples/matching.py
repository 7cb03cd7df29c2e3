"""Compares the output of a command with the output that a page shows.

`...` stands for any text, and on a line of its own for any lines, or none. What differs from run to run (times,
durations, hashes, figures with a fraction) counts as equal if it has the same form, so that a page can show a real
value; blanks count as one, so that a page need not have the width of a table.
"""

from __future__ import annotations

import re

_VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"-?\b[\d.,]+ (?:s|ms|µs|ns)(?= |$)", re.MULTILINE), "<duration>"),
    (re.compile(r"-?\b[\d.]+ (%|B|kB|MB)(?= |$)", re.MULTILINE), r"<figure> \1"),
    (re.compile(r"(?<![\d.])-?\d+\.\d+(?:e[+-]?\d+)?(?![\d.])"), "<figure>"),
    (re.compile(r"\b[0-9a-f]{12,64}(?:-[0-9a-f]+)?\b"), "<hash>"),
    (re.compile(r"\bpid(\W+)\d+"), r"pid\1<number>"),
    (re.compile(r"\b(running +(?:(?:yes|no|-) +)?)\d+"), r"\1<number>"),
    (re.compile("▇+"), "▇"),
    (re.compile(r"={3,}"), "==="),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.MULTILINE), ""),
)
_LINES_BETWEEN, _LINES_AT_END, _TEXT = r"(?m:^\.\.\.\n)", r"\n\.\.\.\Z", r"\.\.\."
_WILDCARD = re.compile(f"{_LINES_BETWEEN}|{_LINES_AT_END}|{_TEXT}")
_MATCHES = {"...\n": "(?:.*?\n)?", "\n...": "(?:\n.*)?", "...": ".*?"}


def fits(shown: str, printed: str) -> bool:
    """Return whether `printed` is what `shown` promises."""
    pattern, at, wanted = "", 0, _even(shown)
    for wildcard in _WILDCARD.finditer(wanted):
        pattern += re.escape(wanted[at : wildcard.start()]) + _MATCHES[wildcard[0]]
        at = wildcard.end()
    return re.fullmatch(pattern + re.escape(wanted[at:]), _even(printed), re.DOTALL) is not None


def _even(text: str) -> str:
    """Return `text` without what differs from run to run."""
    text = text.replace("\r\n", "\n")
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text.strip()
