"""The rule for variables and texts that a program is given, the same wherever they come from. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from smartmob.errors import InvalidInput

NAME = "[A-Za-z_][A-Za-z0-9_]*"
"""The names of environment variables that are taken, as a regular expression."""

_NAME = re.compile(NAME)
_SHOWN = 80


def is_name(text: str) -> bool:
    """Return whether `text` can be the name of an environment variable."""
    return _NAME.fullmatch(text) is not None


def check(variables: Mapping[str, str], where: str) -> None:
    """Raise InvalidInput, which shows no value, for a name or a value that no program can be given."""
    for name, value in variables.items():
        if not is_name(name):
            raise InvalidInput.at(where, f"{name[:_SHOWN]!r} is no name of an environment variable")
        check_text(value, f"{where}.{name[:_SHOWN]}", "a value")


def check_text(text: str, where: str, what: str) -> None:
    """Raise InvalidInput for a text that no program can be given; `what` says what it is."""
    if "\0" in text:
        raise InvalidInput.at(where, f"{what} cannot contain the NUL character")
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput.at(where, f"{what} cannot contain half a character (a lone surrogate)") from None
