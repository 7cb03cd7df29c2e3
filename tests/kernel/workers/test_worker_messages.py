"""The messages between the owner and its workers."""

from __future__ import annotations

import msgspec
import pytest

from smartmob.kernel.workers import worker_messages as messages
from smartmob.kernel.workers.worker_messages import (
    Attempt,
    Ping,
    Pong,
    Published,
    Reload,
    Stop,
    WorkerMetrics,
    WorkerStarted,
    WorkerWelcome,
)


def test_each_message_survives_the_way() -> None:
    """One line holds one message, whatever its texts contain."""
    value = msgspec.Raw(msgspec.json.encode({"h": "a\nb"}))
    metrics = WorkerMetrics({"f": [("f_total", {"method": "GET"}, 2.0)]}, {})
    to_worker = (
        WorkerWelcome("postgresql://", "rack\n7", "s", b"\0\xff"),
        Ping(3),
        Reload(),
        Stop(),
        Published("X", value),
    )
    for sent in (*to_worker, Attempt("::1", "00ff", accepted=True)):
        line = messages.line(sent)
        assert line.count(b"\n") == 1
        assert messages.TO_WORKER.decode(line) == sent
    for sent in (WorkerStarted(), messages.WorkerFailed("no disk\nleft"), Pong(3, metrics)):
        assert messages.TO_OWNER.decode(messages.line(sent)) == sent


def test_a_message_of_the_other_side_is_refused() -> None:
    """A worker cannot give orders."""
    with pytest.raises(msgspec.ValidationError):
        messages.TO_OWNER.decode(messages.line(Stop()))
