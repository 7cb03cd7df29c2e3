"""The messages of the WebSocket `/commands`, for both of its ends. No I/O.

Text frames are JSON objects that are told apart by `type`. Binary frames carry bytes: one byte for what they are, the
id of the call (4 bytes), the offset of the first byte (8 bytes), both big-endian, then the bytes. Ids are the
client's. Of the bytes of a call an end sends only as many as the other has room for: it begins with a credit and gets
more (`credit`) as they are taken.
"""

from __future__ import annotations

import struct
from collections import deque
from datetime import datetime
from typing import Annotated, Any

import msgspec

from smartmob.commands.model import CommandDescription, Failure, Offset
from smartmob.errors import InvalidInput, TooLarge

VERSION = 1
WINDOW_BYTES = 1024 * 1024
"""The credit, in bytes, with which each direction of a call begins."""
PIECE_BYTES = 120 * 1024
"""The most bytes of one binary frame. From 128 KiB on, malloc maps fresh memory for each copy."""
LONGEST_TEXT_BYTES = 4 * 1024 * 1024
"""The most bytes of one text frame."""
MOST_OPEN_CALLS = 1_000
"""The most calls that a connection may have open."""

OUTPUT, INPUT, VALUE = 1, 2, 3
"""What a binary frame carries: bytes for the client, bytes for the command, a message that is bytes."""

_HEAD = struct.Struct(">BIQ")

CallId = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Hello(msgspec.Struct, frozen=True, tag="hello", omit_defaults=True):
    """The client's first message: who it is, and the working directory that it had on a connection before."""

    client: Annotated[str, msgspec.Meta(max_length=200)] = ""
    cwd: str | None = None


class Call(msgspec.Struct, frozen=True, tag="call", omit_defaults=True):
    """Run a command. Of a call that is repeated with the same `key` on another connection the job is not run again."""

    id: CallId
    name: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    key: Annotated[str, msgspec.Meta(min_length=8, max_length=64)] | None = None


class Credit(msgspec.Struct, frozen=True, tag="credit", omit_defaults=True):
    """The sender has room for so many bytes more."""

    id: CallId
    bytes: Annotated[int, msgspec.Meta(ge=1, le=2**40)]


class End(msgspec.Struct, frozen=True, tag="end", omit_defaults=True):
    """The client sends no more bytes to the command."""

    id: CallId


class Cancel(msgspec.Struct, frozen=True, tag="cancel", omit_defaults=True):
    """The client no longer listens. A job goes on; any other command is given up."""

    id: CallId


class Ping(msgspec.Struct, frozen=True, tag="ping", omit_defaults=True):
    """Does the other end live?"""

    n: int = 0


class Pong(msgspec.Struct, frozen=True, tag="pong", omit_defaults=True):
    """It does."""

    n: int = 0


class Welcome(msgspec.Struct, frozen=True, tag="welcome", omit_defaults=True):
    """The answer to `hello`: what there is."""

    version: int
    server: str
    commands: list[CommandDescription]


class Started(msgspec.Struct, frozen=True, tag="started", omit_defaults=True):
    """A command has begun; its number, which is a job's if `job`."""

    id: CallId
    number: int
    job: bool


class Says(msgspec.Struct, frozen=True, tag="says", omit_defaults=True):
    """Messages of a command. A time is `{"$time": "ISO 8601"}`."""

    id: CallId
    values: list[Any]


class Gap(msgspec.Struct, frozen=True, tag="gap", omit_defaults=True):
    """The output from `first` to `last` is no longer kept."""

    id: CallId
    first: Offset
    last: Offset


class Done(msgspec.Struct, frozen=True, tag="done", omit_defaults=True):
    """A command has ended, with its last messages. `state` and `end` (the length of the output) are a job's."""

    id: CallId
    exit_code: int | None
    values: list[Any] = []
    error: Failure | None = None
    state: str | None = None
    end: int | None = None


class Refused(msgspec.Struct, frozen=True, tag="refused", omit_defaults=True):
    """A message was not understood or not taken; `problem` is the name of an HTTP problem of the service."""

    problem: str
    detail: str
    id: CallId | None = None


FromClient = Hello | Call | Credit | End | Cancel | Ping | Pong
FromServer = Welcome | Started | Says | Gap | Credit | Done | Refused | Ping | Pong

_FROM_CLIENT: msgspec.json.Decoder[FromClient] = msgspec.json.Decoder(FromClient)
_FROM_SERVER: msgspec.json.Decoder[FromServer] = msgspec.json.Decoder(FromServer)
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The content of a binary frame. `offset` is the number of the message when `kind` is VALUE."""

    kind: int
    id: int
    offset: int
    data: bytes


def encode(message: FromClient | FromServer) -> bytes:
    """Return a message as the content of a text frame."""
    return _ENCODER.encode(message)


def decode_client_message(text: str | bytes) -> FromClient:
    """Return what a client says; raises InvalidInput."""
    try:
        return _FROM_CLIENT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the message is not understood: {error}") from None


def decode_server_message(text: str | bytes) -> FromServer:
    """Return what a server says; raises InvalidInput."""
    try:
        return _FROM_SERVER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the message is not understood: {error}") from None


def encode_piece(kind: int, call_id: int, offset: int, data: bytes | memoryview) -> bytes:
    """Return bytes as the content of a binary frame."""
    return _HEAD.pack(kind, call_id, offset) + data


def decode_piece(content: bytes) -> Piece:
    """Return what a binary frame carries; raises InvalidInput."""
    if len(content) < _HEAD.size:
        raise InvalidInput("a binary frame is shorter than its head")
    kind, call_id, offset = _HEAD.unpack_from(content)
    if kind not in (OUTPUT, INPUT, VALUE):
        raise InvalidInput(f"a binary frame is of the unknown kind {kind}")
    return Piece(kind, call_id, offset, content[_HEAD.size :])


def encode_value(value: object) -> object:
    """Return a message of a command as JSON has it."""
    return {"$time": value.isoformat()} if type(value) is datetime else value


def decode_value(value: object) -> object:
    """Return a message of a command as it was said."""
    if type(value) is dict and len(value) == 1 and isinstance(value.get("$time"), str):
        try:
            return datetime.fromisoformat(value["$time"])
        except ValueError:
            return value
    return value


class SendWindow:
    """The bytes of one direction of a call, at the end that sends them: never more than the other has room for."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.credit = WINDOW_BYTES

    def add(self, credit: int) -> None:
        """Take note that the other end has room for more."""
        self.credit += credit

    def take(self, data: memoryview) -> memoryview:
        """Return as much of the beginning of `data` as may be sent now in one frame, perhaps nothing."""
        sent = data[: min(len(data), self.credit, PIECE_BYTES)]
        self.credit -= len(sent)
        self.offset += len(sent)
        return sent


class ReceiveWindow:
    """The bytes of one direction of a call, at the end that takes them: held until they are wanted, within WINDOW_BYTES."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.held: deque[bytes] = deque()
        self._room = WINDOW_BYTES
        self._taken = 0

    def receive(self, found: Piece) -> None:
        """Hold what came; raises InvalidInput for a gap or a repeat, TooLarge for more than there is room for."""
        if found.offset != self.offset:
            raise InvalidInput(f"bytes came from offset {found.offset}, expected were those from {self.offset}")
        self._room -= len(found.data)
        if self._room < 0:
            raise TooLarge("more bytes came than there was credit for")
        self.offset += len(found.data)
        self.held.append(found.data)

    def skip(self, offset: int) -> None:
        """Go on from a later offset, since what lies before is no longer there."""
        self.offset = offset

    def consume(self, size: int) -> int:
        """Take note that `size` bytes are needed no more; return the credit to give for them now, or 0 to wait."""
        self._taken += size
        if self._taken < WINDOW_BYTES // 4:
            return 0
        given, self._taken = self._taken, 0
        self._room += given
        return given
