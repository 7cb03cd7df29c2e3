"""The rules for environment variables and texts that are passed to programs, for all features. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from smartmob.errors import InvalidInput

NAME = "[A-Za-z_][A-Za-z0-9_]*"
"""The names of environment variables that are allowed, as a regular expression."""

_NAME = re.compile(NAME)
_SHOWN_CHARACTERS = 80  # of a wrong name in a message


def is_name(text: str) -> bool:
    """Return whether `text` can be the name of an environment variable."""
    return _NAME.fullmatch(text) is not None


def check(variables: Mapping[str, str], where: str) -> None:
    """Check names and values; raises InvalidInput, whose message shows no value, as values may be secrets."""
    for name, value in variables.items():
        if not is_name(name):
            raise InvalidInput.at(where, f"{name[:_SHOWN_CHARACTERS]!r} is not a valid name of an environment variable")
        check_text(value, f"{where}.{name[:_SHOWN_CHARACTERS]}", "a value")


def check_text(text: str, where: str, what: str) -> None:
    """Raise InvalidInput for a text that cannot be passed to a program. `what` names it in the message."""
    if "\0" in text:
        raise InvalidInput.at(where, f"{what} cannot contain the NUL character")
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput.at(where, f"{what} cannot contain a lone surrogate (half a character)") from None
