"""How a line of a Procfile becomes a program: directly where that is the same, through a shell where it is not."""

from __future__ import annotations

import shlex

_SHELL = "/bin/sh"
_EXPANSIONS = frozenset("$`")
"""They mean something to a shell outside quotes and within double quotes."""
_PATTERNS = frozenset("*?[~<>#{!")
"""They mean something outside quotes, and leave it at one command."""
_OPERATORS = frozenset(";&|()\n")
"""They make more of it than one command."""
_OF_THE_SHELL = frozenset(
    (
        *(".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "elif", "else"),
        *("esac", "eval", "exec", "exit", "export", "fc", "fg", "fi", "for", "getopts", "hash", "if", "in", "jobs"),
        *("local", "read", "readonly", "return", "set", "shift", "source", "then", "times", "trap", "type", "ulimit"),
        *("umask", "unalias", "unset", "until", "wait", "while", "{", "}", "!"),
    )
)


def argv(command: str) -> list[str]:
    """Return the arguments to run `command` with.

    A command of plain words, quoted or not, is run as it is. One that needs a shell is run by `sh -c`, with `exec`
    before it where it is a single command, so that a signal reaches the program and no shell stands between. Raises
    ValueError for a command without words or with an open quote.
    """
    words = shlex.split(command)
    if not words:
        raise ValueError("the command is empty")
    found = _special(command)
    if found & _OPERATORS or words[0] in _OF_THE_SHELL or "=" in words[0]:
        return [_SHELL, "-c", command]
    return [_SHELL, "-c", f"exec {command}"] if found else words


def _special(command: str) -> set[str]:
    """Return the characters of `command` that mean something to a shell where they stand."""
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
