"""Parser of Procfiles (RFC 1 of smartmob). No I/O.

The text is UTF-8 without a byte order mark. Blanks at the beginning of a line, blank lines and lines that begin with
`#` are ignored. Every other line declares a process type as `name: command`. A backslash as the last character of a
line continues it on the next, and stands for one space together with the blanks on either side of it; a comment in
between is ignored, a blank line ends the command.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

import msgspec

from smartmob.errors import InvalidInput

_BLANKS = " \t\r\f\v"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Lines with a mistake; a line that looks like the continuation of a command matches none of these.
_SPACED = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)[ \t]+:")
_OTHER_NAME = re.compile(r"([^:=$\"'`|&;<>]{1,80}):(?![/0-9])")
_UNMARKED = re.compile(r"([A-Za-z][A-Za-z0-9_]*)[ \t=]")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_DECLARATION = re.compile(r"([^:\s]+):[ \t\r\f\v]*(.*)", re.DOTALL)
MOST_BYTES = 256 * 1024
"""Limit of a Procfile or .env file."""
MOST_LINES = 10_000
LONGEST_LINE = 64 * 1024
"""Limit of a line with its continuations, in characters."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLine(InvalidInput):
    """A line of a Procfile or .env file is invalid; `line` is its number, from 1."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}")
        self.file = file
        self.line = line


class ProcfileCommand(msgspec.Struct, frozen=True):
    """The command of a process type, as it stands after the colon, and the number of its line."""

    text: str
    line: int


class Procfile(msgspec.Struct, frozen=True):
    """The process types of a Procfile, in the order of their first lines."""

    commands: dict[str, ProcfileCommand] = msgspec.field(default_factory=dict)
    """The command of each process type; that of the first line when there are several."""
    faults: dict[str, BadLine] = msgspec.field(default_factory=dict)
    """The error of each process type that cannot be run. The other process types can."""

    def command(self, name: str) -> ProcfileCommand:
        """Return the command of the process type `name`. Raises its BadLine, and KeyError for an unknown name."""
        if name in self.faults:
            raise self.faults[name]
        return self.commands[name]

    def unknown(self, name: str) -> str:
        """Return the message for a process type `name` that does not exist, with the one that may be meant."""
        known = ", ".join(self.commands) or "no process types"
        import difflib

        near = [one for one in self.commands if one.casefold() == name.casefold()]
        near = near or difflib.get_close_matches(name, list(self.commands)[:100], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"the Procfile has no {name!r}; it has {known}{hint}"


def parse(data: bytes, file: str = "Procfile") -> Procfile:
    """Return the process types; `file` is the name in messages. Raises BadLine for a line that belongs to none."""
    found = Procfile()
    for number, line in logical_lines(file, data):
        match = _DECLARATION.fullmatch(line)
        if (spaced := _SPACED.match(line)) is not None:
            reason = f"leave out the blanks before the colon: `{spaced[1]}: ...`"
            found.faults.setdefault(spaced[1], BadLine(file, number, reason))
            found.commands.setdefault(spaced[1], ProcfileCommand("", number))
            continue
        if match is None or _NAME.fullmatch(match[1]) is None:
            reason = f"this is neither a process type (`name: command`) nor a comment; {_correct_form(line)}"
            raise BadLine(file, number, reason)
        name, text = match[1], match[2]
        if name in found.commands:
            before = found.commands[name].line
            reason = f"the process type {name!r} is already declared on line {before}; give one of them another name"
            found.faults.setdefault(name, BadLine(file, number, reason))
            continue
        found.commands[name] = ProcfileCommand(text, number)
        if not text:
            found.faults[name] = BadLine(file, number, f"the process type {name!r} has no command after the colon")
    return found


def _correct_form(line: str) -> str:
    """Return the correct form for a line that declares nothing, for mistakes that other tools ignore."""
    if line == "---":
        return "leave it out"
    other, unmarked = _OTHER_NAME.match(line), _UNMARKED.match(line)
    if other is not None:
        name = _NOT_IN_NAMES.sub("-", other[1]).strip("-.") or "name"
        return f"a name has only letters, digits, `_`, `-` and `.` and begins with none of the last two: `{name}: ...`"
    colon = f"a process type needs a colon after its name: `{unmarked[1]}: ...`; " if unmarked is not None else ""
    return f"{colon}a line that continues the one above needs a backslash as the very last character there"


def logical_lines(file: str, data: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that is neither blank nor a comment, with its continuations, and the number of its first line.

    Raises BadLine for text that is not UTF-8, and for a last line with a continuation mark.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadLine(file, 1, "the file is UTF-16, as Windows writes it; save it as UTF-8 without a byte order mark")
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
