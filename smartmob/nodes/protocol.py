"""The messages of the link, the WebSocket between a node and its service. They are JSON texts with a `type`.

The node sends `facts` first, and again when they have changed. The service answers with `welcome`. To use the node, the
service sends `open` with the id of a stream; the node dials back the WebSocket of that stream, whose binary messages
are the bytes of an HTTP/1.1 connection with the node's server. The node sends `clock` with its time, and the service
answers with `clock_answer`, for the exchange of four timestamps of RFC 5905, section 8. Unknown types are ignored.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from smartmob.nodes.model import NodeFacts

LINK_PATH = "/api/v1/nodes/link"
STREAM_PATH = "/api/v1/nodes/streams"
MAX_MESSAGE_BYTES = 64 * 1024
"""Bytes of a message of the link."""
STREAM_MESSAGE_BYTES = 1024 * 1024
"""Bytes of a message of a stream; a sender makes smaller ones."""
HEARTBEAT_SECONDS = 15.0
"""Silence after which either side sends a ping; without an answer within half of that time the link is dead."""


class Facts(msgspec.Struct, tag_field="type", tag="facts", frozen=True):
    """The description of a node, and the secret with which the service uses it while this link is open."""

    facts: NodeFacts
    secret: str


class Clock(msgspec.Struct, tag_field="type", tag="clock", frozen=True):
    """A question for the time: `sent` is the time of the one who asks, in seconds since 1970."""

    sent: float


class Open(msgspec.Struct, tag_field="type", tag="open", frozen=True):
    """A stream that the node is to dial back."""

    stream: str


class Welcome(msgspec.Struct, tag_field="type", tag="welcome", frozen=True):
    """The name of the node as the service knows it, and the version of the service."""

    node: str
    version: str


class ClockAnswer(msgspec.Struct, tag_field="type", tag="clock_answer", frozen=True):
    """The answer to `clock`: its `sent`, and when the question was received and answered, in seconds since 1970."""

    sent: float
    received: float
    answered: float


FromNode: TypeAlias = Facts | Clock
FromService: TypeAlias = Welcome | Open | ClockAnswer

KNOWN_FROM_NODE = frozenset(("facts", "clock"))
KNOWN_FROM_SERVICE = frozenset(("welcome", "open", "clock_answer"))


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


_TYPED = msgspec.json.Decoder(_Typed)
_FROM_NODE: msgspec.json.Decoder[FromNode] = msgspec.json.Decoder(FromNode)
_FROM_SERVICE: msgspec.json.Decoder[FromService] = msgspec.json.Decoder(FromService)
