"""The messages between the process that owns the service and its workers: one JSON object a line."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Sample: TypeAlias = tuple[str, dict[str, str], float]
"""A sample of a Prometheus metric: its name, its labels and its value."""


class WorkerMetrics(msgspec.Struct, frozen=True):
    """The samples of a worker by the name of their metric. `counters` only grow; `gauges` are present values."""

    counters: dict[str, list[Sample]] = {}
    gauges: dict[str, list[Sample]] = {}


class WorkerWelcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The first message to a worker.

    The message has the URL of the database, the name of the service's machine among the hosts, the secret that shows
    the owner that a request comes from a worker, and the key of the digests of attempts.
    """

    database_url: str
    own_name: str
    secret: str
    attempts_key: bytes


class WorkerStarted(msgspec.Struct, frozen=True, tag="started"):
    """The worker answers requests."""


class WorkerFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker cannot start; `is_outage` if it could when the database is available again."""

    reason: str
    is_outage: bool = False


class Published(msgspec.Struct, frozen=True, tag="published"):
    """An event of the bus of the sender; `kind` is the name of its class."""

    kind: str
    value: msgspec.Raw


class Attempt(msgspec.Struct, frozen=True, tag="attempt"):
    """A credential that was shown at the sender for the first time; see `AttemptLimit`."""

    address: str
    digest: str
    accepted: bool


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """A request for a `Pong` of the same number once all messages before it have had their effect."""

    number: int


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The answer to a `Ping`."""

    number: int
    metrics: WorkerMetrics


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """An order to read the certificate again."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """An order to accept no more connections, answer the active requests, and end."""


ToWorker: TypeAlias = WorkerWelcome | Published | Attempt | Ping | Reload | Stop
ToOwner: TypeAlias = WorkerStarted | WorkerFailed | Published | Attempt | Pong

TO_WORKER = msgspec.json.Decoder(ToWorker)
TO_OWNER = msgspec.json.Decoder(ToOwner)

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Bytes of one message: more than the metrics of a service with all statuses and methods have."""


def line(message: ToWorker | ToOwner) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"
