"""Parsers of .env files in two dialects: RFC 2 of smartmob, and the one of python-dotenv. No I/O.

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

_DECLARATION = re.compile(rf"({NAME})[ \t\r\f\v]*=[ \t\r\f\v]*(.*)", re.DOTALL)


def parse(data: bytes) -> dict[str, str]:
    """Return the variables, in the order of the file. Raises BadLine, whose message contains no values."""
    variables: dict[str, str] = {}
    declared: dict[str, int] = {}
    for number, line in logical_lines(".env", data):
        match = _DECLARATION.fullmatch(line)
        if match is None:
            hint = "; leave out the word `export`" if line.startswith("export ") else ""
            raise BadLine(".env", number, f"this is neither a variable (`NAME=value`) nor a comment{hint}")
        name = match[1]
        if name in declared:
            raise BadLine(".env", number, f"the variable {name} is already set on line {declared[name]}")
        declared[name] = number
        variables[name] = match[2]
    return variables


def parse_dotenv(data: bytes, outer: Mapping[str, str]) -> dict[str, str]:
    """Return the variables as python-dotenv reads them; `${NAME}` is expanded by earlier ones, then by `outer`.

    Raises BadLine, whose message contains no values.
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
        if binding.error or (binding.key is not None and re.fullmatch(NAME, binding.key) is None):
            raise BadLine(".env", line, "this is neither a variable (`NAME=value`, `export NAME=value`) nor a comment")
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
