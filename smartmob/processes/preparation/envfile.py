"""Parser of .env files (RFC 2 of smartmob). No I/O.

Text, comments, blank lines and continued lines are as in a Procfile. Every other line is `NAME=value`; blanks around
the `=` and at the end are ignored. A value is literal: quotes and `#` are part of it, and nothing is expanded.
"""

from __future__ import annotations

import re

from smartmob.kernel.subprocesses.variables import NAME
from smartmob.processes.preparation.procfile import BadLine, logical_lines

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
