"""Turning the command of a Procfile into the arguments of a program, directly or through a shell. No I/O."""

from __future__ import annotations

import shlex

_SHELL = "/bin/sh"
_EXPANSIONS = frozenset("$`")
"""Special to a shell outside quotes and within double quotes."""
_PATTERNS = frozenset("*?[~<>#{!")
"""Special outside quotes; the command stays a single one."""
_OPERATORS = frozenset(";&|()\n")
"""Special outside quotes; they join several commands."""
_SHELL_WORDS = frozenset(
    (
        *(".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else"),
        *("esac", "eval", "exec", "exit", "export", "fc", "fg", "fi", "for", "getopts", "hash", "if", "in", "jobs"),
        *("local", "read", "readonly", "return", "set", "shift", "source", "then", "times", "trap", "type", "ulimit"),
        *("umask", "unalias", "unset", "until", "wait", "while", "{", "}", "!"),
    )
)
"""Builtin commands and reserved words of POSIX shells (POSIX.1-2017, sections 2.4 and 2.14), and a few common ones."""


def argv(command: str) -> list[str]:
    """Return the arguments to run `command` with.

    A command of plain words, quoted or not, is run directly. Any other is run by `sh -c`, with `exec` before it when it
    is a single command: signals then reach the program, because no shell stays as its parent. Raises ValueError for a
    command without words or with an open quote.
    """
    words = shlex.split(command)
    if not words:
        raise ValueError("the command is empty")
    found = _special(command)
    if found & _OPERATORS or words[0] in _SHELL_WORDS or "=" in words[0]:
        return [_SHELL, "-c", command]
    return [_SHELL, "-c", f"exec {command}"] if found else words


def _special(command: str) -> set[str]:
    """Return the characters of `command` that are special to a shell at their position."""
    found: set[str] = set()
    quote = before = ""
    characters = iter(command)
    for character in characters:
        last, before = before, character
        if character == "\\" and quote != "'":
            next(characters, "")
        elif quote:
            if character == quote:
                quote = ""
            elif quote == '"' and character in _EXPANSIONS:
                found.add(character)
        elif character in "'\"":
            quote = character
        elif character == "&" and last in ("<", ">"):
            continue  # a redirection to a descriptor
        elif character in _EXPANSIONS or character in _PATTERNS or character in _OPERATORS:
            found.add(character)
    return found
