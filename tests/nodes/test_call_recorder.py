"""The tap of the calls that clients send to the commands of nodes."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.auth.reservation_guard import Reservation, ReservationGuard
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.nodes.call_recorder import CallRecorder

CALL = '{"type": "call", "id": 1, "name": "exec", "args": ["make"]}'


def test_calls_are_published_and_refused_while_another_client_has_the_node() -> None:
    """A message that is no call, and a call that changes nothing, pass without an event."""
    bus, guard = EventBus(), ReservationGuard()
    called: list[CommandCalled] = []
    bus.subscribe(CommandCalled, called.append)
    record = CallRecorder(guard, bus).of("rack7", "192.0.2.1")
    assert record("[]") is None and record(CALL.replace("exec", "ls")) is None
    assert called == []
    assert record(CALL) is None
    now = clock.now()
    until = now + timedelta(hours=1)
    guard.replace([Reservation(id=uuid4(), node="rack7", token=None, holder="bob", reason="", since=now, until=until)])
    answer = record(CALL)
    assert answer is not None and "bob" in answer
    assert [(each.name, each.words, each.outcome, each.node) for each in called] == [
        ("exec", "make", "passed on", "rack7"),
        ("exec", "make", "refused: reserved", "rack7"),
    ]
