"""What a command says, as the one who listens reads it: lines of output and messages, in order, and how it ended."""

from __future__ import annotations

import codecs
import inspect
import io
import sys
from typing import Any

from smartmob.client.failures import ClientError, exception
from smartmob.client.limits import LIMITS
from smartmob.commands.model import BAD_PARAMETER, CommandDescription
from smartmob.commands.protocol import Done

OPTIONS = ("timeout", "complete", "echo_response", "max_interval", "raise_error")
"""Keywords of every command that are the client's own; a server's parameter of that name gets a `_` behind it."""


class LeftOut(ClientError):
    """Stands in a row of messages for those that were left out, since their reader has not read the ones before."""

    def __init__(self) -> None:
        self.count = 0

    def __str__(self) -> str:
        return f"{self.count} messages were left out here: those before were not read in time"


class Backpressure:
    """Counts the messages that wait for a reader, and tells which ones to leave out. Any thread may read."""

    def __init__(self) -> None:
        self._came = self._came_bytes = 0
        self._read = self._read_bytes = 0
        self._left_out: LeftOut | None = None

    def add(self, values: list[Any], size: int) -> list[tuple[Any, int]]:
        """Return which of the messages of a frame to hold, each with the size to give to `read`."""
        held: list[tuple[Any, int]] = []
        for number, value in enumerate(values):
            share = size if number == 0 else 0
            count, waiting = self._came - self._read, self._came_bytes - self._read_bytes
            # Once full, half of it has to be read before there is room again: so there are few marks.
            most = 2 if self._left_out is not None else 1
            if count >= LIMITS.unread_messages // most or (count and waiting + share > LIMITS.unread_bytes // most):
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
        """Take note that a message was read."""
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
    """Add a gap in the output; of very many the last ones become one."""
    if len(gaps) >= LIMITS.gaps:
        first = gaps.pop()[0]
    gaps.append((first, last))


class LineSplitter:
    """Cuts output into lines, each with its line end; Windows' and old Mac's line ends become `\\n`."""

    def __init__(self) -> None:
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._rest = ""

    def add(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes."""
        text = self._rest + self._decoder.decode(data)
        lines = text.splitlines(keepends=True) if text.isascii() and _plain(text) else _split(text)
        whole = not lines or lines[-1].endswith("\n") or len(lines[-1]) >= LIMITS.output_line_characters
        self._rest = "" if whole else lines.pop()
        return lines

    def end(self) -> list[str]:
        """Return the last line, if it has no line end."""
        text, self._rest = self._rest + self._decoder.decode(b"", True), ""
        return _split(text)


def _plain(text: str) -> bool:
    """Return whether the only line ends that str.splitlines finds in `text` are those that are meant."""
    return not any(mark in text for mark in "\x0b\x0c\x1c\x1d\x1e")


def _split(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])


def presented(value: Any) -> Any:
    """Return a message as it is handed out; None would end a loop over the listener."""
    return "None" if value is None else value


def error_of(done: Done) -> BaseException | None:
    """Return the exception with which a command ended, if it raised one."""
    return None if done.error is None else exception(done.error)


def raise_for(done: Done, error: BaseException | None, messages: list[Any]) -> None:
    """Raise what `raise_error` asks for: the command's own exception, or ValueError for a bad parameter."""
    if error is not None:
        raise error
    if done.exit_code == BAD_PARAMETER:
        raise ValueError(messages[-1] if messages else "bad parameter")


def arguments(
    description: CommandDescription | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments as they are sent; raises TypeError for a text where bytes belong."""
    sent = {name[:-1] if name[:-1] in OPTIONS and name.endswith("_") else name: v for name, v in kwargs.items()}
    if description is not None:
        takes_bytes = [parameter.type == "bytes" for parameter in description.parameters]
        names = [parameter.name for parameter in description.parameters]
        for place, value in [*enumerate(args), *((names.index(n), v) for n, v in sent.items() if n in names)]:
            if place < len(names) and takes_bytes[place] and not isinstance(value, bytes | bytearray | memoryview):
                raise TypeError(f"{description.name}: {names[place]} must be bytes, not {type(value).__name__}")
    return list(args), sent


def signature(description: CommandDescription) -> inspect.Signature:
    """Return the signature that a client's method for a command shows."""
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
    """Shows a type of the server's, which is not known here."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class ServerMethod(str):
    """The name of a command, with its signature and documentation."""

    signature: str
    text: str

    def __new__(cls, description: CommandDescription) -> ServerMethod:
        """Make the name of what is described."""
        made = super().__new__(cls, description.name)
        made.signature = f"{description.name}{signature(description)}"
        made.text = description.text
        return made


def unknown(name: str, connected: bool) -> AttributeError:
    """Return the error for a method that the server does not have, or not yet."""
    if not connected:
        return AttributeError(f"{name}: the server's commands become methods by connect()")
    return AttributeError(f"the server has no command {name}; server_methods() lists what it has")


def lost_output(first: int, last: int) -> ClientError:
    """Return the error for output that is no longer kept."""
    return ClientError(f"{last - first} bytes of output, from {first} on, are no longer kept by the server")


def echo(message: Any) -> None:
    """Print a message as it comes."""
    sys.stdout.write((message.rstrip("\n") if isinstance(message, str) else str(message)) + "\n")
