"""The messages of the link, the WebSocket between a node and its service. They are JSON texts with a `type`.

The node sends `facts` first, and again whenever they have changed. The service answers with `welcome`. To use the node,
the service sends `open` with the id of a stream; the node dials back the WebSocket of that stream, whose binary
messages are the bytes of an HTTP/1.1 connection with the node's server. The node sends `clock` with its time, and the
service answers with `clock_answer`, for the exchange of four timestamps of RFC 5905, section 8. The node sends
`account` with the password of the machine as which it reports its load, and the service answers with the `host`. The
node sends its oldest `records`, and the next ones when the service has answered that they are `stored`. It sends its
`activity` whenever that has changed. Unknown types are ignored.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from smartmob.nodes.model import NodeActivity, NodeFacts

LINK_PATH = "/api/v1/nodes/link"
STREAM_PATH = "/api/v1/nodes/streams"
MAX_MESSAGE_BYTES = 1024 * 1024
"""Bytes of a message of the link."""
RECORD_BYTES = 128 * 1024
"""Bytes of records in one message, unless one record alone has more."""
MAX_TEXT = 4_096
"""Characters of a text of a record; longer ones are cut by the node."""
STREAM_MESSAGE_BYTES = 1024 * 1024
"""Bytes of a message of a stream; a sender makes smaller ones."""
HEARTBEAT_SECONDS = 15.0
"""Seconds of silence after which a side sends a ping; without an answer within half of this time the link is dead."""


class Facts(msgspec.Struct, tag_field="type", tag="facts", frozen=True):
    """The description of a node, and the secret with which the service uses it while this link is open."""

    facts: NodeFacts
    secret: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{16,128}$")]


class Clock(msgspec.Struct, tag_field="type", tag="clock", frozen=True):
    """A request for the time; `sent` is the sender's time in seconds since 1970."""

    sent: float


class Account(msgspec.Struct, tag_field="type", tag="account", frozen=True):
    """The password with which the node reports its load, by the echo protocol. It is derived from its key."""

    password: Annotated[str, msgspec.Meta(min_length=32, max_length=128, pattern="^[0-9a-f]+$")]


class Record(msgspec.Struct, frozen=True):
    """A record of the node: its ascending number, its kind (`process_event` or `job`), and its value."""

    number: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    kind: str
    value: msgspec.Raw


class Records(msgspec.Struct, tag_field="type", tag="records", frozen=True):
    """The oldest records that the node still has, in the order of their numbers.

    `journal` is the id of the file that numbers them. `dropped` is the number of records that were dropped since the
    file was made.
    """

    journal: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern="^[0-9A-Za-z-]+$")]
    records: Annotated[list[Record], msgspec.Meta(max_length=10_000)]
    dropped: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0


class Activity(msgspec.Struct, tag_field="type", tag="activity", frozen=True):
    """The programs of the node and the jobs that run there; it is sent again when they have changed."""

    activity: NodeActivity


class ReportedHost(msgspec.Struct, tag_field="type", tag="host", frozen=True):
    """The machine as which the node reports its load; its name differs from the node's own if that is taken."""

    name: str


class Stored(msgspec.Struct, tag_field="type", tag="stored", frozen=True):
    """The number up to which all records of the node are stored."""

    number: int


class Open(msgspec.Struct, tag_field="type", tag="open", frozen=True):
    """A request to dial a stream back."""

    stream: str


class Welcome(msgspec.Struct, tag_field="type", tag="welcome", frozen=True):
    """The name of the node as the service knows it, and the version of the service."""

    node: str
    version: str


class ClockAnswer(msgspec.Struct, tag_field="type", tag="clock_answer", frozen=True):
    """The answer to `clock`: its `sent`, and the times at which it was received and answered, in seconds since 1970."""

    sent: float
    received: float
    answered: float


FromNode: TypeAlias = Facts | Clock | Account | Records | Activity
FromService: TypeAlias = Welcome | Open | ClockAnswer | ReportedHost | Stored

KNOWN_FROM_NODE = frozenset(("facts", "clock", "account", "records", "activity"))
KNOWN_FROM_SERVICE = frozenset(("welcome", "open", "clock_answer", "host", "stored"))


class _Typed(msgspec.Struct, frozen=True):
    type: str


def read_from_node(text: str | bytes) -> FromNode | None:
    """Return a message of a node, or None for an unknown type; raises msgspec.DecodeError."""
    if _TYPED.decode(text).type not in KNOWN_FROM_NODE:
        return None
    return _FROM_NODE.decode(text)


def read_from_service(text: str | bytes) -> FromService | None:
    """Return a message of the service, or None for an unknown type; raises msgspec.DecodeError."""
    if _TYPED.decode(text).type not in KNOWN_FROM_SERVICE:
        return None
    return _FROM_SERVICE.decode(text)


def write(message: FromNode | FromService) -> str:
    """Return the text of a message."""
    return msgspec.json.encode(message).decode()


class _CallId(msgspec.Struct, frozen=True):
    id: int


def refused_call(text: str, reason: str) -> str | None:
    """Return the answer that refuses a command's call because of a conflict, or None for a call without an id.

    It is the message `refused` of the WebSocket of commands.
    """
    try:
        call = _CALL_ID.decode(text)
    except msgspec.DecodeError:
        return None
    refused = {"type": "refused", "problem": "conflict", "detail": reason, "id": call.id}
    return msgspec.json.encode(refused).decode()


_CALL_ID = msgspec.json.Decoder(_CallId)
_TYPED = msgspec.json.Decoder(_Typed)
_FROM_NODE: msgspec.json.Decoder[FromNode] = msgspec.json.Decoder(FromNode)
_FROM_SERVICE: msgspec.json.Decoder[FromService] = msgspec.json.Decoder(FromService)
