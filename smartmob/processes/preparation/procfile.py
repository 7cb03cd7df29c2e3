"""The reader of Procfiles, as RFC 1 of smartmob describes them. No I/O.

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
"""A larger Procfile or .env file is refused."""
MOST_LINES = 10_000
LONGEST_LINE = 64 * 1024
"""Characters of a line with those that continue it."""
MOST_ASSIGNMENTS = 1_000
"""Of one command."""
LONGEST_VALUE = 128 * 1024 - 1
"""Characters of a variable; Linux gives no program more in one."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(InvalidInput):
    """A line of a Procfile or .env file does not fit; `line` is its number, from 1."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}")
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True)
class Variable:
    """A reference in an assignment to another variable; `default` stands in where it is unset or empty."""

    name: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variable that a command sets: literal pieces and references, to be joined."""

    name: str
    value: tuple[str | Variable, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """What to run for a process type: a shell command, and the variables that it sets before."""

    text: str
    assignments: tuple[Assignment, ...] = ()

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the command sets where `outer` is its environment, in their order.

        `$NAME`, `${NAME}` and `${NAME:-default}` mean what a shell makes of them; an earlier assignment is seen by
        the later ones. Raises InvalidInput when a value is longer than a program can be given.
        """
        made: dict[str, str] = {}
        for assignment in self.assignments:
            pieces = [
                piece if isinstance(piece, str) else made.get(piece.name, outer.get(piece.name, "")) or piece.default
                for piece in assignment.value
            ]
            # Before they are joined: one that doubles the one before it, and so on, would have no end.
            if sum(map(len, pieces)) > LONGEST_VALUE:
                raise InvalidInput(f"Procfile: the variable {assignment.name} has more than {LONGEST_VALUE} characters")
            made[assignment.name] = "".join(pieces)
        return made


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
    """Yield each line that says something, joined with those that continue it, and the number of its first line.

    Raises BadLine for what is no text in UTF-8, and for a last line that wants to be continued.
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
        raise BadLine(file, first, "the file ends where this line wants to be continued (it ends with a backslash)")


def _text(file: str, number: int, raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadLine(file, number, f"byte {error.start + 1} of the line is not UTF-8") from None
    if "\0" in text:
        raise BadLine(file, number, "the line has a zero byte")
    return text.removesuffix("\r").lstrip(_BLANKS)


def _command(name: str, text: str, number: int) -> Command:
    # The place is moved on, and nothing is cut off: that would copy the rest for each assignment.
    match = _ENV.match(text)
    place = 0 if match is None else match.end()
    assignments: dict[str, Assignment] = {}
    while (match := _ASSIGNMENT.match(text, place)) is not None:
        if match[1] in assignments:
            raise BadLine("Procfile", number, f"the variable {match[1]} of {name!r} is set twice")
        if len(assignments) == MOST_ASSIGNMENTS:
            raise BadLine("Procfile", number, f"{name!r} sets more than {MOST_ASSIGNMENTS} variables")
        value, place = _value(text, match.end(), number)
        assignments[match[1]] = Assignment(match[1], value)
        while text[place : place + 1] and text[place] in _BLANKS:
            place += 1
    if place == len(text):
        raise BadLine("Procfile", number, f"the process type {name!r} has no command")
    return Command(text[place:], tuple(assignments.values()))


def _value(text: str, start: int, number: int) -> tuple[tuple[str | Variable, ...], int]:
    """Return the value of an assignment, with a shell's quotes and references, and where it ends."""
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
    """Return what the `$` or backtick at `index` stands for, and the index of its last character."""
    if (match := _VARIABLE.match(text, index + 1)) is not None and text[index] == "$":
        return Variable(match[1] or match[2], match[3] or ""), match.end() - 1
    if text[index] == "`" or text[index + 1 : index + 2] in tuple("({?#@*!$-0123456789"):
        raise BadLine(
            "Procfile",
            number,
            "an assignment may hold $NAME, ${NAME} and ${NAME:-default}, but nothing that a shell must compute; "
            "write a script and name it as the command",
        )
    return "$", index


def _joined(pieces: list[str | Variable]) -> tuple[str | Variable, ...]:
    """Return the pieces with neighbouring literal ones made one."""
    joined: list[str | Variable] = []
    for literal, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        neighbours = [*group]
        joined.extend(["".join(cast(list[str], neighbours))] if literal else neighbours)
    return tuple(joined)
