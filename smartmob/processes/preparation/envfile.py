"""Parsers of .env files in two dialects: RFC 2 of smartmob, and that of python-dotenv. No I/O.

In RFC 2, text, comments, blank lines and continued lines are as in a Procfile. Every other line is `NAME=value`; blanks
around the `=` and at the end are ignored. A value is literal: quotes and `#` are part of it, and nothing is expanded.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from smartmob.kernel.subprocesses.variables import NAME
from smartmob.processes.preparation.procfile import MOST_BYTES, BadLine, logical_lines

LONGEST_VALUE = 128 * 1024 - 1
"""Limit of a variable, in characters: MAX_ARG_STRLEN of Linux without the zero byte."""

_QUOTES = ('"', "'")
_BLANKS = " \t\r\f\v"
_OTHER_DIALECT = "--processes-dotenv"
_DOTENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
"""A name in the dialect of python-dotenv. Shells cannot use names with `.` or `-`, but programs such as Java can."""
_EXPANDED = re.compile(rf"\$\{{{NAME}")
_YAML = re.compile(rf"({NAME})[ \t]*:")
_DECLARATION = re.compile(rf"({NAME})[ \t\r\f\v]*=[ \t\r\f\v]*(.*)", re.DOTALL)


def parse(data: bytes) -> dict[str, str]:
    """Return the variables, in the order of the file. Raises BadLine, whose message contains no values."""
    variables: dict[str, str] = {}
    declared: dict[str, int] = {}
    opened = 0
    for number, line in logical_lines(".env", data):
        match = _DECLARATION.fullmatch(line)
        if match is None:
            reason = f"this is neither a variable (`NAME=value`) nor a comment{_correct_form(line, opened)}"
            raise BadLine(".env", number, reason)
        name = match[1]
        if name in declared:
            raise BadLine(".env", number, f"the variable {name} is already set on line {declared[name]}")
        declared[name] = number
        variables[name] = match[2]
        if match[2][:1] in _QUOTES and match[2][:1] not in match[2][1:]:
            opened = number
    return variables


def remark(data: bytes) -> str | None:
    """Return what other tools read differently in a valid file, with its first line and no value, or None."""
    for number, line in logical_lines(".env", data):
        _, _, value = line.partition("=")
        value = value.strip(_BLANKS)
        if len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0]:
            found = "the quotes are part of the value"
        elif " #" in value:
            found = "` #` begins no comment, it is part of the value"
        elif _EXPANDED.search(value):
            found = "`${...}` is part of the value, and is not replaced"
        else:
            continue
        return f".env, line {number}: {found}; {_OTHER_DIALECT} reads the file as python-dotenv does"
    return None


def _correct_form(line: str, opened: int) -> str:
    """Return the correct form for a line that sets no variable; `opened` is a line with an open quote, or 0."""
    if line.startswith("export "):
        return f"; leave out the word `export`, or start the service with {_OTHER_DIALECT}"
    if opened:
        return f"; for the value in quotes that begins on line {opened}, start the service with {_OTHER_DIALECT}"
    if (match := _YAML.match(line)) is not None:
        return f"; write `{match[1]}=...`"
    return ""


def parse_dotenv(data: bytes, outer: Mapping[str, str]) -> dict[str, str]:
    """Return the variables as python-dotenv reads them; `${NAME}` is expanded by earlier ones, then by `outer`.

    Raises BadLine, whose message contains no values, also for a line that python-dotenv skips with a warning.
    """
    from dotenv.parser import parse_stream
    from dotenv.variables import parse_variables

    if len(data) > MOST_BYTES:
        raise BadLine(".env", 1, f"the file has more than {MOST_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadLine(".env", data.count(b"\n", 0, error.start) + 1, "the line is not UTF-8") from None
    variables: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line
        if binding.error:
            raise BadLine(".env", line, "this is neither a variable (`NAME=value`, `export NAME=value`) nor a comment")
        if binding.key is not None and _DOTENV_NAME.fullmatch(binding.key) is None:
            raise BadLine(".env", line, "a name has only letters, digits, `_`, `.` and `-`, and begins with no digit")
        if binding.key is None or binding.value is None:
            continue
        if "\0" in binding.value:
            raise BadLine(".env", line, "the line has a zero byte")
        known: dict[str, str | None] = {**outer, **variables}
        value = "".join(atom.resolve(known) for atom in parse_variables(binding.value))
        if len(value) > LONGEST_VALUE:
            raise BadLine(".env", line, f"the variable {binding.key} has more than {LONGEST_VALUE} characters")
        variables[binding.key] = value
    return variables
