"""The words of a program that an option gives as one text, split as a shell does."""

from __future__ import annotations

import re
import shlex

from smartmob.errors import SettingsError

_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
_OPERATOR = re.compile(r"(?<!\S)\d?[<>|&;]+\S*|[;&](?!\S)")
"""Redirections, pipes and separators of a shell that are a word, or the beginning or the end of one."""

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def words_without_shell(option: str, text: str) -> list[str]:
    """Return the words of a program that is run without a shell.

    Raises SettingsError for unquoted operators, such as `>`, and a variable before the program: both need a shell.
    """
    words = program_words(option, text)
    operator = _OPERATOR.search(_QUOTED.sub("_", text))
    if operator is not None:
        shell = shlex.quote(f"sh -c {shlex.quote(text)}")
        raise SettingsError(
            f"{option} is run without a shell, to which {operator[0]!r} in {text!r} belongs: quote it if it is an "
            f"argument, or name a shell: {option} {shell}"
        )
    if _ASSIGNMENT.match(words[0]):
        raise SettingsError(
            f"{option} begins with a variable, and is run without a shell: {option} {shlex.quote(f'env {text}')}"
        )
    return words


def program_words(option: str, text: str) -> list[str]:
    """Return the words of a program; raises SettingsError for a text without words or with an open quote."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is not a valid command: {str(error).lower()}") from None
    if not words:
        raise SettingsError(f"{option} is empty")
    return words
