"""The arguments that run the command of a Procfile: directly for plain words, else by a shell. No I/O.

The command has the meaning that `sh -c` gives it. This module does not interpret quotes, variables and operators. Its
readers only find out whether a text is plain enough to run without a shell, or to make the shell replace itself by the
program (`exec`). A text that they do not understand is passed to the shell unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from smartmob.kernel.subprocesses.variables import NAME

SHELL = "/bin/sh"

_PLAIN = r"[A-Za-z0-9_@%+:,./-]"
_PLAIN_WORDS = re.compile(rf"{_PLAIN}+(?:[ \t]+(?:{_PLAIN}|=)+)*")
_FIRST_WORD = re.compile(rf"(?:~/)?({_PLAIN}+)(?=[ \t]|$)")
_ENV = re.compile(rf"env[ \t]+(?={NAME}=)")
_ASSIGNMENT = re.compile(rf"({NAME})=")
_ANY_ASSIGNMENT = re.compile(rf"(?<![A-Za-z0-9_])({NAME})=")
_BLANKS = re.compile(r"[ \t]*")

# One word of a shell, without command substitutions and arithmetic: any other construct ends the match. The quantifiers
# are possessive (`*+`), so that a text that does not match is refused in linear time.
_PARAMETER = (
    r"(?>\$(?:[A-Za-z_][A-Za-z0-9_]*+|[0-9@#?$!*-]|\{[A-Za-z_][A-Za-z0-9_]*+(?::?[-=+?][^${}`\"'\\]*+)?\}|(?![({'\"])))"
)
_DOUBLE_QUOTED = rf"\"(?:[^\"\\$`]|\\.|{_PARAMETER})*+\""
_WORD_PART = rf"(?:[^\s\"'\\$`;&|()<>]|\\.|'[^']*+'|{_DOUBLE_QUOTED}|{_PARAMETER})"
_WORD = re.compile(rf"{_WORD_PART}*+", re.DOTALL)
_REDIRECTION = r"[0-9]*+(?:>>|>\||>&|<&|<>|>|<(?!<))[ \t]*+"
_SIMPLE_COMMAND = re.compile(rf"(?:(?:{_REDIRECTION})?(?!\#){_WORD_PART}++[ \t]*+)*+(?:\#.*+)?", re.DOTALL)

_SHELL_WORDS = frozenset(
    (
        *("!", ".", ":", "[", "[[", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd", "chdir"),
        *("command", "compgen", "complete", "continue", "coproc", "declare", "dirs", "disown", "do", "done", "echo"),
        *("elif", "else", "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for"),
        *("function", "getopts", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local", "logout"),
        *("mapfile", "popd", "printf", "pushd", "pwd", "read", "readarray", "readonly", "return", "select", "set"),
        *("shift", "shopt", "source", "suspend", "test", "then", "time", "times", "trap", "true", "type", "typeset"),
        *("ulimit", "umask", "unalias", "unset", "until", "wait", "while", "{", "}"),
    )
)
"""Reserved words and builtin commands of POSIX shells (POSIX.1-2017, sections 2.4 and 2.14), dash and bash.

A program of the same name can behave differently: `echo -e` does in dash.
"""


class Assignment(msgspec.Struct, frozen=True):
    """A variable that is set at the beginning of a command; its text is `command[start:end]`."""

    name: str
    start: int
    end: int


def assignments(command: str) -> list[Assignment]:
    """Return the assignments before the first command, including those after the word `env`.

    Raises ValueError, with a text for people, when no command follows them.
    """
    match = _ENV.match(command)
    index = _skip_blanks(command, 0 if match is None else match.end())
    found: list[Assignment] = []
    while (match := _ASSIGNMENT.match(command, index)) is not None:
        end = _word_end(command, match.end())
        if end is None:
            return found
        found.append(Assignment(match[1], match.start(), end))
        index = _skip_blanks(command, end)
    if index == len(command) or command[index] == "#":
        raise ValueError("it has no command")
    # `A=1; run` and `A=1 && run` set a variable of the shell itself.
    return [] if command[index] in ";&|()<>\n" else found


def argv(command: str, replaced: Collection[str] = (), shell: str = SHELL) -> list[str]:
    """Return the arguments that run `command` as `sh -c` would.

    Assignments to variables in `replaced` are left out of the text: they get their value elsewhere. Plain words are run
    without a shell. A single command that needs one gets `exec` before it: signals then reach the program, because no
    shell stays as its parent. Raises ValueError, with a text for people, for a text without a command.
    """
    found = assignments(command)
    index = _skip_blanks(command, found[-1].end) if found else 0
    rest = command[index:]
    _check_unread(rest, replaced)
    kept = [command[one.start : one.end] for one in found if one.name not in replaced]
    if found and found[0].start > 0:
        before, after = ["env", *kept], []
    else:
        before, after = [], kept
    text = " ".join((*before, *after, rest))
    first = _FIRST_WORD.match(rest)
    if shell == SHELL and first is not None and first[1] not in _SHELL_WORDS:
        if _PLAIN_WORDS.fullmatch(text):
            return text.split()
        if _SIMPLE_COMMAND.fullmatch(rest):
            text = " ".join((*after, "exec", *before, rest))
    return [shell, "-c", text]


def is_shell_text(arguments: list[str], shell: str) -> bool:
    """Return whether arguments of `argv` run a text by this shell; other programs also have an option -c."""
    return len(arguments) == 3 and arguments[:2] == [shell, "-c"]


def programs(arguments: list[str]) -> list[str]:
    """Return the first words in the shell text of `argv`, one of which is the program; none without a shell."""
    if not is_shell_text(arguments, arguments[0]):
        return []
    texts = (arguments[2], arguments[2].partition("exec ")[2])
    return [match[1] for text in texts if (match := _FIRST_WORD.match(text)) is not None]


def _check_unread(rest: str, replaced: Collection[str]) -> None:
    """Raise ValueError when an assignment that cannot be left out of the text could be one of `replaced`."""
    if _ASSIGNMENT.match(rest) is None:
        return
    names = {match[1] for match in _ANY_ASSIGNMENT.finditer(rest)}
    if both := sorted(names & set(replaced)):
        raise ValueError(f"its text sets {both[0]} within the shell, and the request sets {both[0]} too; remove one")


def _word_end(text: str, index: int) -> int | None:
    """Return the end of the shell word at `index`, or None when it has a construct that is not read here."""
    match = _WORD.match(text, index)
    end = index if match is None else match.end()
    return end if end == len(text) or text[end] in " \t\n;&|()<>" else None


def _skip_blanks(text: str, index: int) -> int:
    match = _BLANKS.match(text, index)
    return index if match is None else match.end()
