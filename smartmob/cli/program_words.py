"""The words of a program that an option gives as one text, split as a shell does."""

from __future__ import annotations

import shlex

from smartmob.errors import SettingsError


def program_words(option: str, text: str) -> list[str]:
    """Return the words of a program; raises SettingsError for a text without words or with an open quote."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is not a valid command: {str(error).lower()}") from None
    if not words:
        raise SettingsError(f"{option} is empty")
    return words
