"""The messages of the stock wire, with the rules that keep a stock client alive. No I/O.

Seen from the client of release 0.2.17: request ids begin at 1 (0 makes it throw its queue away), no detail is None
(which would end its listener), and an error is an exception of Python's own.
"""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import Any

from smartmob.commands.conplyent import pickles
from smartmob.commands.conplyent.decoder import Refused
from smartmob.commands.conplyent.zmtp import frame

ACKNOWLEDGE, HEARTBEAT, COMMAND, DETAILS, COMPLETE = (0,), (1,), (2,), (3,), (4,)
SYNC = 5

_LONGEST_LINE = 1024 * 1024
_LONGEST_ECHO = 2_000


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The client asks whether the server lives."""


@dataclass(frozen=True, slots=True)
class Sync:
    """The client asks for the names of the commands."""


@dataclass(frozen=True, slots=True)
class Command:
    """The client wants a command to be run."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse(data: bytes) -> Heartbeat | Sync | Command | None:
    """Return what a client says, or None for its answer to a heartbeat; raises Refused."""
    kind, request, fields = pickles.decode(data)
    if kind == HEARTBEAT:
        return Heartbeat() if request else None
    if kind == SYNC:
        return Sync()
    if kind == COMMAND:
        name, args, kwargs = (fields.get(field) for field in ("cmd_id", "args", "keywargs"))
        named = isinstance(kwargs, dict) and all(isinstance(key, str) for key in kwargs)
        if not isinstance(name, str) or not isinstance(args, tuple) or not isinstance(kwargs, dict) or not named:
            raise Refused("the command has not the fields of the stock client's")
        return Command(name, args, kwargs)
    raise Refused("a server does not get messages of this type")


HEARTBEAT_ANSWER = frame(pickles.encode(HEARTBEAT, False, {}))


def sync(names: list[str]) -> bytes:
    """Return the answer to SYNC as a frame."""
    return frame(pickles.encode(SYNC, True, {"args": (names,)}))


def echo(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return the first detail of each command, which the stock client drops; it is cut off where it is long."""
    parts = [name]
    for given in (args, kwargs):
        large = sum(len(value) for value in _texts(given)) > _LONGEST_ECHO
        parts.append("..." if large else repr(given)[:_LONGEST_ECHO])
    return " ".join(parts)


def _texts(given: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
    values = list(given.values()) if isinstance(given, dict) else list(given)
    return [value for value in values if isinstance(value, str | bytes | bytearray | list | tuple | dict | set)]


class Answer:
    """The frames that answer one command, numbered as the client wants them."""

    def __init__(self, request_id: int) -> None:
        if request_id < 1:
            raise ValueError("a stock client cannot have a request 0")
        self.request_id = request_id
        self._number = 0
        # Line ends as the stock server's text mode reads them.
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._rest = ""

    def acknowledge(self) -> bytes:
        """Return the frame that comes first."""
        return frame(pickles.encode(ACKNOWLEDGE, True, {"request_id": self.request_id}))

    def detail(self, value: object) -> bytes:
        """Return the frame of one message; what a stock client cannot read becomes a text."""
        return self._detail(pickles.plain(value))

    def output(self, data: bytes, *, last: bool = False) -> bytes:
        """Return the frames of the lines that `data` completes, each with its line end; `last` ends the last line."""
        text = self._rest + self._decoder.decode(data, last)
        *lines, self._rest = text.split("\n")
        frames = [self._detail(line + "\n") for line in lines]
        if self._rest and (last or len(self._rest) > _LONGEST_LINE):
            frames.append(self._detail(self._rest))
            self._rest = ""
        return b"".join(frames)

    def complete(self, exit_code: int | None) -> bytes:
        """Return the frame that comes last."""
        fields = {"request_id": self.request_id, "exit_code": exit_code, "msg_num": self._number}
        return frame(pickles.encode(COMPLETE, True, fields))

    def _detail(self, value: object) -> bytes:
        fields = {"request_id": self.request_id, "details": value, "msg_num": self._number}
        self._number += 1
        return frame(pickles.encode(DETAILS, True, fields))
