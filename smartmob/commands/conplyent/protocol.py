"""The messages of conplyent's wire, in the form that keeps its client alive. No I/O.

The rules were observed on the client of release 0.2.17: request ids begin at 1 (0 makes the client discard its queue),
details are never None (which would end its listener), and errors are built-in exceptions (it can import no others).
"""

from __future__ import annotations

import codecs
import io
from typing import Any

import msgspec

from smartmob.commands.conplyent import pickles
from smartmob.commands.conplyent.decoder import MEMBERS, InvalidPickle
from smartmob.commands.conplyent.zmtp import frame

ACKNOWLEDGE, HEARTBEAT, COMMAND, DETAILS, COMPLETE, SYNC = MEMBERS.values()

_LONGEST_LINE_CHARACTERS = 1024 * 1024
"""A longer line is sent in parts, so that memory stays bounded."""
_LONGEST_ECHO_CHARACTERS = 2_000


class Heartbeat(msgspec.Struct, frozen=True):
    """A request that checks whether the server is alive."""


class Sync(msgspec.Struct, frozen=True):
    """A request for the names of the commands."""


class CommandRequest(msgspec.Struct, frozen=True):
    """A request to run a command."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse(data: bytes) -> Heartbeat | Sync | CommandRequest | None:
    """Return the request of a client, or None for its answer to a heartbeat; raises InvalidPickle."""
    kind, request, fields = pickles.decode(data)
    if kind == HEARTBEAT:
        return Heartbeat() if request else None
    if kind == SYNC:
        return Sync()
    if kind == COMMAND:
        name, args, kwargs = (fields.get(field) for field in ("cmd_id", "args", "keywargs"))
        texts = isinstance(kwargs, dict) and all(isinstance(key, str) for key in kwargs)
        if not isinstance(name, str) or not isinstance(args, tuple) or not isinstance(kwargs, dict) or not texts:
            raise InvalidPickle("the command does not have the fields of a conplyent client's")
        return CommandRequest(name, args, kwargs)
    raise InvalidPickle("a server does not get messages of this type")


HEARTBEAT_ANSWER = frame(pickles.encode(HEARTBEAT, False, {}))


def sync(names: list[str]) -> bytes:
    """Return the frame of the answer to SYNC."""
    return frame(pickles.encode(SYNC, True, {"args": (names,)}))


def echo(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return the first detail of each command, which conplyent's client drops. Long arguments are cut."""
    parts = [name]
    for arguments in (args, kwargs):
        large = sum(len(value) for value in _texts(arguments)) > _LONGEST_ECHO_CHARACTERS
        parts.append("..." if large else repr(arguments)[:_LONGEST_ECHO_CHARACTERS])
    return " ".join(parts)


def _texts(arguments: tuple[Any, ...] | dict[str, Any]) -> list[Any]:
    values = list(arguments.values()) if isinstance(arguments, dict) else list(arguments)
    return [value for value in values if isinstance(value, str | bytes | bytearray | list | tuple | dict | set)]


class AnswerEncoder:
    """Makes the frames that answer one command: ACKNOWLEDGE, DETAILS numbered from 0 on, COMPLETE."""

    def __init__(self, request_id: int) -> None:
        if request_id < 1:
            raise ValueError("conplyent's client cannot have a request 0")
        self.request_id = request_id
        self._number = 0
        # conplyent's server reads output in text mode, which turns all line ends into "\n".
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
        self._rest = ""

    def acknowledge(self) -> bytes:
        """Return the first frame."""
        return frame(pickles.encode(ACKNOWLEDGE, True, {"request_id": self.request_id}))

    def detail(self, value: object) -> bytes:
        """Return the frame of one message. A value that conplyent's client cannot unpickle becomes a text."""
        return self._detail(pickles.plain(value))

    def output(self, data: bytes, *, last: bool = False) -> bytes:
        """Return the frames of the lines that `data` completes, with their line ends; `last` completes the last one."""
        text = self._rest + self._decoder.decode(data, last)
        *lines, self._rest = text.split("\n")
        frames = [self._detail(line + "\n") for line in lines]
        if self._rest and (last or len(self._rest) > _LONGEST_LINE_CHARACTERS):
            frames.append(self._detail(self._rest))
            self._rest = ""
        return b"".join(frames)

    def rest(self) -> bytes:
        """Return the frame of an incomplete line, or empty bytes if there is none."""
        text, self._rest = self._rest, ""
        return self._detail(text) if text else b""

    def complete(self, exit_code: int | None) -> bytes:
        """Return the last frame."""
        fields = {"request_id": self.request_id, "exit_code": exit_code, "msg_num": self._number}
        return frame(pickles.encode(COMPLETE, True, fields))

    def _detail(self, value: object) -> bytes:
        fields = {"request_id": self.request_id, "details": value, "msg_num": self._number}
        self._number += 1
        return frame(pickles.encode(DETAILS, True, fields))
