"""Parser of Procfiles (RFC 1 of smartmob). No I/O.

The text is UTF-8 without a byte order mark. Blanks at the beginning of a line, blank lines and lines that begin with
`#` are ignored. Every other line declares a process type as `name: command`. A backslash as the last character of a
line continues it on the next, and stands for one space together with the blanks on either side of it; a comment in
between is ignored, a blank line ends the command. Variable assignments before a command go to its environment, also
behind the word `env`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from smartmob.errors import InvalidInput
from smartmob.kernel.subprocesses.variables import NAME

_BLANKS = " \t\r\f\v"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DECLARATION = re.compile(r"([^:\s]+):[ \t\r\f\v]*(.*)", re.DOTALL)
_ASSIGNMENT = re.compile(rf"({NAME})=")
_ENV = re.compile(rf"env[ \t]+(?={NAME}=)")
_VARIABLE = re.compile(rf"({NAME})|\{{({NAME})(?::-([^${{}}`\"'\\]*))?\}}")
MOST_BYTES = 256 * 1024
"""Limit of a Procfile or .env file."""
MOST_LINES = 10_000
LONGEST_LINE = 64 * 1024
"""Limit of a line with its continuations, in characters."""
MOST_ASSIGNMENTS = 1_000
"""Limit of the assignments before one command."""
LONGEST_VALUE = 128 * 1024 - 1
"""Limit of a variable, in characters: MAX_ARG_STRLEN of Linux without the zero byte."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(InvalidInput):
    """A line of a Procfile or .env file is invalid; `line` is its number, from 1."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}")
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True)
class Variable:
    """A reference in an assignment to another variable; `default` replaces it when it is unset or empty."""

    name: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variable that a command sets; `value` has literal pieces and references, to be joined."""

    name: str
    value: tuple[str | Variable, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """The command of a process type: a shell command, and the assignments that stand before it."""

    text: str
    assignments: tuple[Assignment, ...] = ()

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the command sets in the environment `outer`, in their order.

        `$NAME`, `${NAME}` and `${NAME:-default}` are expanded as by a shell; later assignments see earlier ones. Raises
        InvalidInput when a value is longer than LONGEST_VALUE.
        """
        expanded: dict[str, str] = {}
        for assignment in self.assignments:
            pieces = [
                piece
                if isinstance(piece, str)
                else expanded.get(piece.name, outer.get(piece.name, "")) or piece.default
                for piece in assignment.value
            ]
            # Checked before joining: assignments that each double the previous one would fill the memory.
            if sum(map(len, pieces)) > LONGEST_VALUE:
                raise InvalidInput(f"Procfile: the variable {assignment.name} has more than {LONGEST_VALUE} characters")
            expanded[assignment.name] = "".join(pieces)
        return expanded


def parse(data: bytes) -> dict[str, Command]:
    """Return the command of each process type, in the order of the file; raises BadLine."""
    commands: dict[str, Command] = {}
    declared: dict[str, int] = {}
    for number, line in logical_lines("Procfile", data):
        match = _DECLARATION.fullmatch(line)
        if match is None or _NAME.fullmatch(match[1]) is None:
            raise BadLine(
                "Procfile",
                number,
                "this is neither a process type (`name: command`) nor a comment; a line that continues the one above "
                "needs a backslash as the very last character there",
            )
        name, text = match[1], match[2]
        if name in declared:
            raise BadLine("Procfile", number, f"the process type {name!r} is already declared on line {declared[name]}")
        declared[name] = number
        commands[name] = _command(name, text, number)
    return commands


def logical_lines(file: str, data: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that is neither blank nor a comment, with its continuations, and the number of its first line.

    Raises BadLine for text that is not UTF-8, and for a last line with a continuation mark.
    """
    if data.startswith(_BYTE_ORDER_MARK):
        raise BadLine(file, 1, "the file begins with a byte order mark; save it as UTF-8 without one")
    if len(data) > MOST_BYTES:
        raise BadLine(file, 1, f"the file has more than {MOST_BYTES} bytes")
    pending: list[str] = []
    first = length = 0
    for number, raw in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
        if number > MOST_LINES:
            raise BadLine(file, number, f"the file has more than {MOST_LINES} lines")
        line = _text(file, number, raw)
        if line.startswith("#") or not (line or first):
            continue
        first = first or number
        length += len(line)
        if length > LONGEST_LINE:
            raise BadLine(file, first, f"the line has more than {LONGEST_LINE} characters")
        if line.endswith("\\"):
            pending.append(line[:-1].rstrip(_BLANKS) + " ")
            continue
        yield first, ("".join(pending) + line).strip(_BLANKS)
        pending.clear()
        first = length = 0
    if first:
        raise BadLine(file, first, "the line is continued by a backslash, but the file ends there")


def _text(file: str, number: int, raw: bytes) -> str:
    """Return a line as text, without blanks at its beginning and a carriage return at its end; raises BadLine."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadLine(file, number, f"byte {error.start + 1} of the line is not UTF-8") from None
    if "\0" in text:
        raise BadLine(file, number, "the line has a zero byte")
    return text.removesuffix("\r").lstrip(_BLANKS)


def _command(name: str, text: str, number: int) -> Command:
    """Return the command of the process type `name` from the text behind its colon."""
    # An index moves along the text: cutting the text would copy the rest for each assignment.
    match = _ENV.match(text)
    index = 0 if match is None else match.end()
    assignments: dict[str, Assignment] = {}
    while (match := _ASSIGNMENT.match(text, index)) is not None:
        if match[1] in assignments:
            raise BadLine("Procfile", number, f"the variable {match[1]} of {name!r} is set twice")
        if len(assignments) == MOST_ASSIGNMENTS:
            raise BadLine("Procfile", number, f"{name!r} sets more than {MOST_ASSIGNMENTS} variables")
        value, index = _value(text, match.end(), number)
        assignments[match[1]] = Assignment(match[1], value)
        while text[index : index + 1] and text[index] in _BLANKS:
            index += 1
    if index == len(text):
        raise BadLine("Procfile", number, f"the process type {name!r} has no command")
    return Command(text[index:], tuple(assignments.values()))


def _value(text: str, start: int, number: int) -> tuple[tuple[str | Variable, ...], int]:
    """Parse the value of an assignment as a shell does; return it and the index of its end."""
    pieces: list[str | Variable] = []
    quote, index = "", start
    while index < len(text):
        char = text[index]
        if quote == "'" or (quote and char == quote):
            if char == quote:
                quote = ""
            else:
                pieces.append(char)
        elif char in "\"'" and not quote:
            quote = char
        elif char == "\\":
            index += 1
            following = text[index : index + 1]
            pieces.append(following if not quote or following in '$`"\\' else "\\" + following)
        elif char in "$`":
            variable, index = _reference(text, index, number)
            pieces.append(variable)
        elif not quote and char in _BLANKS:
            break
        elif not quote and char in ";&|<>()":
            raise BadLine("Procfile", number, f"{char!r} follows an assignment without a space and a command; quote it")
        else:
            pieces.append(char)
        index += 1
    if quote:
        raise BadLine("Procfile", number, f"a quote ({quote}) in an assignment is not closed")
    return _joined(pieces), index


def _reference(text: str, index: int, number: int) -> tuple[str | Variable, int]:
    """Parse the `$` or backtick at `index`; return the reference or a literal `$`, and the index of its end."""
    if (match := _VARIABLE.match(text, index + 1)) is not None and text[index] == "$":
        return Variable(match[1] or match[2], match[3] or ""), match.end() - 1
    if text[index] == "`" or text[index + 1 : index + 2] in tuple("({?#@*!$-0123456789"):
        raise BadLine(
            "Procfile",
            number,
            "an assignment may contain $NAME, ${NAME} and ${NAME:-default}, but nothing else that a shell expands; "
            "write a script and name it as the command",
        )
    return "$", index


def _joined(pieces: list[str | Variable]) -> tuple[str | Variable, ...]:
    """Return the pieces with adjacent literals joined."""
    joined: list[str | Variable] = []
    for literal, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        neighbours = [*group]
        joined.extend(["".join(cast(list[str], neighbours))] if literal else neighbours)
    return tuple(joined)
