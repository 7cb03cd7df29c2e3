"""The messages of a command as a listener returns them: lines of output, values and exceptions, in order."""

from __future__ import annotations

import codecs
import inspect
import io
import sys
from typing import Any

from smartmob.client.failures import ClientError, exception
from smartmob.client.limits import LIMITS
from smartmob.commands.model import BAD_PARAMETER, CommandDescription, Parameter
from smartmob.commands.protocol import Done
from smartmob.counts import counted
from smartmob.errors import InvalidInput

_BYTES = (bytes, bytearray, memoryview)
OPTIONS = ("timeout", "complete", "echo_response", "max_interval", "raise_error")
"""Options of the client for every command; a parameter of the server with the same name gets a `_` at its end."""


class LeftOut(ClientError):
    """An exception in the place of messages that were left out because the reader was too slow."""

    def __init__(self) -> None:
        self.count = 0

    def __str__(self) -> str:
        return f"{counted(self.count, 'message')} left out here: those before were not read in time"


class Backpressure:
    """Counts the messages that wait for a reader, and decides which ones to leave out. Any thread may read."""

    def __init__(self) -> None:
        self._came = self._came_bytes = 0
        self._read = self._read_bytes = 0
        self._left_out: LeftOut | None = None

    def _is_full(self, size: int) -> bool:
        """Return whether there is no room for a message of `size` bytes."""
        count, waiting = self._came - self._read, self._came_bytes - self._read_bytes
        # Once the limit is reached, half of the messages must be read first, so that LeftOut is rare.
        part = 2 if self._left_out is not None else 1
        return count >= LIMITS.unread_messages // part or (count > 0 and waiting + size > LIMITS.unread_bytes // part)

    def add(self, values: list[Any], size: int) -> list[tuple[Any, int]]:
        """Return the messages of a frame to keep, each with the size in bytes to pass to `read`."""
        held: list[tuple[Any, int]] = []
        for number, value in enumerate(values):
            share = size if number == 0 else 0
            if self._is_full(share):
                if self._left_out is None:
                    self._left_out = LeftOut()
                    held.append((self._left_out, 0))
                self._left_out.count += 1
                continue
            self._left_out = None
            self._came += 1
            self._came_bytes += share
            held.append((value, share))
        return held

    def read(self, value: Any, size: int) -> None:
        """Count a message as read."""
        if not isinstance(value, LeftOut):
            self._read += 1
            self._read_bytes += size


def check_gathered(name: str, count: int, size: int) -> None:
    """Check that the messages of a command, in frames of `size` bytes, can be gathered; raises ClientError."""
    if count > LIMITS.gathered_messages or size > LIMITS.gathered_bytes:
        raise ClientError(
            f"{name} sent more than {LIMITS.gathered_messages} messages or {LIMITS.gathered_bytes} bytes, "
            "so the rest of its output was left out; read it with a listener"
        )


def add_gap(gaps: list[tuple[int, int]], first: int, last: int) -> None:
    """Add a gap, from byte `first` to byte `last`; beyond LIMITS it is merged with the last one."""
    if len(gaps) >= LIMITS.gaps:
        first = gaps.pop()[0]
    gaps.append((first, last))


class StandardErrorBytes(bytes):
    """Bytes that a program has written to standard error."""


class StandardErrorText(str):
    """A text that a program has written to standard error."""

    __slots__ = ()


class LineSplitter:
    """Splits output into lines, each with its line end; CR LF and CR become LF."""

    def __init__(self) -> None:
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._rest = ""

    def add(self, data: bytes) -> list[str]:
        """Return the lines that are complete with `data`."""
        text = self._rest + self._decoder.decode(data)
        lines = text.splitlines(keepends=True) if text.isascii() and _plain(text) else _split(text)
        whole = not lines or lines[-1].endswith("\n") or len(lines[-1]) >= LIMITS.output_line_characters
        self._rest = "" if whole else lines.pop()
        return lines

    @property
    def has_rest(self) -> bool:
        """Return whether an incomplete line is held."""
        return bool(self._rest)

    def take_rest(self) -> str:
        """Return the text of an incomplete line; only the rest of the line is returned later."""
        text, self._rest = self._rest, ""
        return text

    def end(self) -> list[str]:
        """Return the last line, if it has no line end."""
        text, self._rest = self._rest + self._decoder.decode(b"", True), ""
        return _split(text)


class StreamLines:
    """Splits the output of a program into lines; those of standard error are kept apart if it is separate."""

    def __init__(self) -> None:
        self._output, self._errors = LineSplitter(), LineSplitter()

    def add(self, data: bytes) -> list[str]:
        """Return the lines that are complete with `data`, which may be StandardErrorBytes."""
        if isinstance(data, StandardErrorBytes):
            return list(map(StandardErrorText, self._errors.add(data)))
        return self._output.add(data)

    @property
    def has_rest(self) -> bool:
        """Return whether an incomplete line is held."""
        return self._output.has_rest or self._errors.has_rest

    def take_rest(self) -> str:
        """Return the text of an incomplete line; of two such lines, that of standard output."""
        return self._output.take_rest() or StandardErrorText(self._errors.take_rest())

    def end(self) -> list[str]:
        """Return the last lines, if they have no line end."""
        return [*self._output.end(), *map(StandardErrorText, self._errors.end())]


def _plain(text: str) -> bool:
    """Return whether str.splitlines finds no other line ends in `text` than LF."""
    return not any(character in text for character in "\x0b\x0c\x1c\x1d\x1e")


def _split(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])


def presented(value: Any) -> Any:
    """Return a message as a listener returns it: None as a text, because None ends a loop over `next`."""
    return "None" if value is None else value


def error_of(done: Done) -> BaseException | None:
    """Return the exception that a command raised, or None."""
    return None if done.error is None else exception(done.error)


def raise_for(done: Done, error: BaseException | None, messages: list[Any]) -> None:
    """Raise the exception of the command, or ValueError for a bad parameter, as `raise_error` requests."""
    if error is not None:
        raise error
    # A server of an earlier release shows it only by the exit code of a command that is not a job.
    if done.bad_parameter or (done.exit_code == BAD_PARAMETER and done.state is None):
        raise ValueError(messages[-1] if messages else "bad parameter")


def arguments(
    description: CommandDescription | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments as they are sent; raises TypeError for a text where bytes are expected, and the reverse.

    Raises InvalidInput for a text that is not UTF-8, which would reach the server with other characters.
    """
    for value in (*args, *kwargs.values()):
        if (found := _not_utf8(value)) is not None:
            shown = found.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise InvalidInput(f"{shown} is not UTF-8, so it cannot be sent; a shell writes such bytes by printf")
    sent = {name[:-1] if name[:-1] in OPTIONS and name.endswith("_") else name: v for name, v in kwargs.items()}
    if description is not None:
        kinds = [parameter.type for parameter in description.parameters]
        names = [parameter.name for parameter in description.parameters]
        for index, value in [*enumerate(args), *((names.index(n), v) for n, v in sent.items() if n in names)]:
            if index >= len(names):
                continue
            is_bytes = isinstance(value, _BYTES)
            if kinds[index] == "bytes" and not is_bytes:
                raise TypeError(f"{description.name}: {names[index]} must be bytes, not {type(value).__name__}")
            if "bytes" not in kinds[index] and "Any" not in kinds[index] and _has_bytes(value):
                wrong = type(value).__name__ if is_bytes else "contain bytes"
                raise TypeError(f"{description.name}: {names[index]} must be {kinds[index]}, not {wrong}")
    return list(args), sent


def _not_utf8(value: Any) -> str | None:
    """Return the text in a value that cannot be encoded, or None."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value
        return None
    items = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for item in items if (found := _not_utf8(item)) is not None), None)


def _has_bytes(value: Any) -> bool:
    """Return whether a value or a part of it is bytes, which JSON would turn into base64."""
    if isinstance(value, dict):
        return any(_has_bytes(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(_has_bytes(item) for item in value)
    return isinstance(value, _BYTES)


def signature(description: CommandDescription) -> inspect.Signature:
    """Return the signature of the client's method for a command."""
    found = []
    for parameter in description.parameters:
        name = f"{parameter.name}_" if parameter.name in OPTIONS else parameter.name
        default = inspect.Parameter.empty if parameter.required else parameter.default
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        found.append(inspect.Parameter(name, kind, default=default, annotation=_Annotation(parameter.type)))
    found.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    for name, default in zip(OPTIONS, (None, True, False, None, False), strict=True):
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
    return inspect.Signature(found)


class _Annotation:
    """The text of an annotation; the types of the server need not exist here."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class ServerMethod(str):
    """The name of a command, with its signature and documentation."""

    signature: str
    text: str

    def __new__(cls, description: CommandDescription) -> ServerMethod:
        """Return the name of the command that `description` describes."""
        made = super().__new__(cls, description.name)
        made.signature = f"{description.name}{signature(description)}"
        made.text = description.text
        return made


TRANSFER = CommandDescription(
    name="transfer",
    summary="Send a file to the server.",
    text="Send a file to the server, and check its SHA-256. The folders of `dest` are created.",
    background=False,
    parameters=[
        Parameter(name="src", required=True, type="str", schema={}),
        Parameter(name="dest", required=True, type="str", schema={}),
        Parameter(name="chunk", required=False, type="int", schema={}, default=1024),
    ],
)
"""The method of the client that is listed with the server's commands, as conplyent's client does."""


def unknown(name: str, connected: bool) -> AttributeError:
    """Return the error for a name that is no command of the server, or is unknown before `connect`."""
    if not connected:
        return AttributeError(f"{name}: the commands of the server become methods by connect()")
    return AttributeError(f"the server has no command {name}; server_methods() lists what it has")


def lost_output(first: int, last: int) -> ClientError:
    """Return the error for output that the server no longer keeps."""
    return ClientError(f"{last - first} bytes of output, from {first} on, are no longer kept by the server")


def echo(message: Any) -> None:
    """Print a message."""
    sys.stdout.write((message.rstrip("\n") if isinstance(message, str) else str(message)) + "\n")


def echo_partial(message: Any) -> None:
    """Print a message of a listener with `partial`: a text as it is, because its line may continue."""
    if isinstance(message, str):
        sys.stdout.write(message)
        sys.stdout.flush()
    else:
        echo(message)
