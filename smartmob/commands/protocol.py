"""The messages of the WebSocket `/commands`, for both of its ends, and the flow control of a call. No I/O.

Text frames are JSON objects; their `type` names the kind. Binary frames have a head of 13 bytes, big-endian: the kind
(1 byte), the id of the call (4 bytes, chosen by the client) and the offset of the first byte (8 bytes); then the bytes.

Each direction of a call is flow-controlled by credit, as in HTTP/2 (RFC 9113, section 5.2): the end that sends holds a
`SendWindow`, the end that receives a `ReceiveWindow`. The states and transitions of both are a table in
docs/reference/commands-websocket.md, section "Flow control".
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
"""The credit with which each direction of a call begins."""
PIECE_BYTES = 120 * 1024
"""The most content of one binary frame. From 128 KiB on, malloc maps fresh memory for each copy."""
QUIET_SECONDS = 0.05
"""Longest delay of an incomplete line: half of the 0.1 seconds within which a prompt must be visible to a client."""
LONGEST_TEXT_BYTES = 4 * 1024 * 1024
"""The longest text frame."""
MOST_OPEN_CALLS = 1_000
"""The most calls that one connection may have open at a time."""

# The kinds of binary frames.
OUTPUT = 1  # bytes from a command to the client
INPUT = 2  # bytes from the client to a command
VALUE = 3  # a message of a command that consists of bytes
ERRORS = 4  # standard error of a program, for a client that has requested it separately

_HEAD = struct.Struct(">BIQ")

CallId = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Hello(msgspec.Struct, frozen=True, tag="hello", omit_defaults=True):
    """The client's first message: its name, and the working directory that it had on an earlier connection."""

    client: Annotated[str, msgspec.Meta(max_length=200)] = ""
    cwd: str | None = None


class Call(msgspec.Struct, frozen=True, tag="call", omit_defaults=True):
    """Run a command. A job that was started by a call with the same `key` is followed instead of being run again."""

    id: CallId
    name: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    key: Annotated[str, msgspec.Meta(min_length=8, max_length=64)] | None = None


class Credit(msgspec.Struct, frozen=True, tag="credit", omit_defaults=True):
    """The sender of this message can receive `bytes` more bytes of the call."""

    id: CallId
    bytes: Annotated[int, msgspec.Meta(ge=1, le=2**40)]


class End(msgspec.Struct, frozen=True, tag="end", omit_defaults=True):
    """The client sends no more bytes to the command."""

    id: CallId


class Cancel(msgspec.Struct, frozen=True, tag="cancel", omit_defaults=True):
    """The client wants no more replies. A job goes on; any other command is cancelled."""

    id: CallId


class Ping(msgspec.Struct, frozen=True, tag="ping", omit_defaults=True):
    """A request that checks whether the other end is alive, which answers with `Pong` and the same number."""

    n: int = 0


class Pong(msgspec.Struct, frozen=True, tag="pong", omit_defaults=True):
    """The answer to `Ping`."""

    n: int = 0


class Welcome(msgspec.Struct, frozen=True, tag="welcome", omit_defaults=True):
    """The answer to `hello`: the version of this protocol, the server's name, and its commands."""

    version: int
    server: str
    commands: list[CommandDescription]


class Started(msgspec.Struct, frozen=True, tag="started", omit_defaults=True):
    """A command has started. `number` is the id of a job if `job` is true."""

    id: CallId
    number: int
    job: bool


class Emitted(msgspec.Struct, frozen=True, tag="says", omit_defaults=True):
    """Messages of a command. A time is encoded as `{"$time": "ISO 8601"}`."""

    id: CallId
    values: list[Any]


class Gap(msgspec.Struct, frozen=True, tag="gap", omit_defaults=True):
    """The output from offset `first` up to `last` is no longer kept."""

    id: CallId
    first: Offset
    last: Offset


class Done(msgspec.Struct, frozen=True, tag="done", omit_defaults=True):
    """A command has ended, with its last messages. `state` and `end` (the length of the output) are set for jobs.

    The exit code -1 is SIGHUP with `signal` 1, and a refused parameter with `bad_parameter`; a server of an earlier
    release sends neither of them.
    """

    id: CallId
    exit_code: int | None
    values: list[Any] = []
    error: Failure | None = None
    state: str | None = None
    end: int | None = None
    signal: int | None = None
    bad_parameter: bool = False


class Refused(msgspec.Struct, frozen=True, tag="refused", omit_defaults=True):
    """A message was not understood or was refused; `problem` is the name of an HTTP problem of the service."""

    problem: str
    detail: str
    id: CallId | None = None


FromClient = Hello | Call | Credit | End | Cancel | Ping | Pong
FromServer = Welcome | Started | Emitted | Gap | Credit | Done | Refused | Ping | Pong

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
    try:
        return _ENCODER.encode(message)
    except UnicodeEncodeError:
        return _ENCODER.encode(without_surrogates(msgspec.to_builtins(message, enc_hook=str)))


def without_surrogates(value: Any) -> Any:
    """Return a JSON value whose texts can be encoded; each byte of a file's name that is not UTF-8 becomes U+FFFD."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(name): without_surrogates(item) for name, item in value.items()}
    return value


def decode_client_message(text: str | bytes) -> FromClient:
    """Return the message in a text frame of a client; raises InvalidInput."""
    try:
        return _FROM_CLIENT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the message is not understood: {error}") from None


def decode_server_message(text: str | bytes) -> FromServer:
    """Return the message in a text frame of a server; raises InvalidInput."""
    try:
        return _FROM_SERVER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the message is not understood: {error}") from None


def encode_piece(kind: int, call_id: int, offset: int, data: bytes | memoryview) -> bytes:
    """Return bytes as the content of a binary frame."""
    return _HEAD.pack(kind, call_id, offset) + data


def decode_piece(content: bytes) -> Piece:
    """Return the content of a binary frame; raises InvalidInput."""
    if len(content) < _HEAD.size:
        raise InvalidInput("a binary frame is shorter than its head")
    kind, call_id, offset = _HEAD.unpack_from(content)
    if kind not in (OUTPUT, INPUT, VALUE, ERRORS):
        raise InvalidInput(f"a binary frame is of the unknown kind {kind}")
    return Piece(kind, call_id, offset, content[_HEAD.size :])


def encode_value(value: object) -> object:
    """Return a message of a command as a JSON value: a time becomes an object."""
    return {"$time": value.isoformat()} if type(value) is datetime else value


def decode_value(value: object) -> object:
    """Return a message of a command from its JSON value; reverses `encode_value`."""
    if type(value) is dict and len(value) == 1 and isinstance(value.get("$time"), str):
        try:
            return datetime.fromisoformat(value["$time"])
        except ValueError:
            return value
    return value


class SendWindow:
    """The sending end of one direction of a call. It never sends more bytes than its credit allows."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.credit = WINDOW_BYTES

    def add(self, credit: int) -> None:
        """Add credit in bytes, which the other end has granted."""
        self.credit += credit

    def take(self, data: memoryview) -> memoryview:
        """Return the beginning of `data` that may be sent now in one frame; it is empty without credit."""
        part = data[: min(len(data), self.credit, PIECE_BYTES)]
        self.credit -= len(part)
        self.offset += len(part)
        return part


class ReceiveWindow:
    """The receiving end of one direction of a call. It holds at most WINDOW_BYTES that were not consumed yet."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.held: deque[bytes] = deque()
        self._granted = WINDOW_BYTES
        self._consumed = 0

    def receive(self, piece: Piece) -> None:
        """Hold bytes. Raises InvalidInput for a gap or a repeat, TooLarge for more than was granted."""
        if piece.offset != self.offset:
            raise InvalidInput(f"bytes came from offset {piece.offset}, but those from {self.offset} were expected")
        self._granted -= len(piece.data)
        if self._granted < 0:
            raise TooLarge("more bytes arrived than the credit allows")
        self.offset += len(piece.data)
        self.held.append(piece.data)

    def skip(self, offset: int) -> None:
        """Continue at a later offset, because the bytes before it are no longer kept."""
        self.offset = offset

    def consume(self, size: int) -> int:
        """Record that `size` bytes were consumed; return the credit to grant now, 0 while it is too little to send."""
        self._consumed += size
        if self._consumed < WINDOW_BYTES // 4:
            return 0
        credit, self._consumed = self._consumed, 0
        self._granted += credit
        return credit
