"""The event bus: which subscriber gets which events, in which order."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from smartmob.kernel.runtime.events import EventBus


@dataclass(frozen=True)
class Stored:
    """An event."""

    count: int


@dataclass(frozen=True)
class StoredTwice(Stored):
    """An event of a subclass."""


def test_events_arrive_in_the_order_of_publication() -> None:
    """A subscriber gets each event of its class once."""
    bus = EventBus()
    received: list[Stored] = []
    bus.subscribe(Stored, received.append)

    for count in range(5):
        bus.publish(Stored(count))

    assert [event.count for event in received] == [0, 1, 2, 3, 4]


def test_events_of_other_classes_do_not_arrive() -> None:
    """Subclasses count as other classes."""
    bus = EventBus()
    received: list[object] = []
    bus.subscribe(Stored, received.append)

    bus.publish(StoredTwice(1))
    bus.publish("a text")

    assert received == []


def test_subscribers_are_called_in_the_order_of_subscription() -> None:
    """Each is called once."""
    bus = EventBus()
    received: list[str] = []
    bus.subscribe(Stored, lambda _: received.append("first"))
    bus.subscribe(Stored, lambda _: received.append("second"))

    bus.publish(Stored(1))

    assert received == ["first", "second"]


def test_an_ended_subscription_gets_no_events() -> None:
    """Other subscribers still get them."""
    bus = EventBus()
    received: list[str] = []
    end = bus.subscribe(Stored, lambda _: received.append("left"))
    bus.subscribe(Stored, lambda _: received.append("stays"))

    end()
    bus.publish(Stored(1))

    assert received == ["stays"]


def test_a_subscriber_may_end_its_subscription_in_its_call() -> None:
    """Other subscribers still get that event."""
    bus = EventBus()
    received: list[str] = []

    def once(_: Stored) -> None:
        received.append("once")
        end()

    end = bus.subscribe(Stored, once)
    bus.subscribe(Stored, lambda _: received.append("always"))

    bus.publish(Stored(1))
    bus.publish(Stored(2))

    assert received == ["once", "always", "always"]


def test_an_exception_of_a_subscriber_is_logged_and_harms_no_other() -> None:
    """The log line has the kind of the event."""
    bus = EventBus()
    received: list[Stored] = []

    def fail(_: Stored) -> None:
        raise ValueError("cannot")

    bus.subscribe(Stored, fail)
    bus.subscribe(Stored, received.append)

    with structlog.testing.capture_logs() as lines:
        bus.publish(Stored(1))

    assert received == [Stored(1)]
    assert [(line["event"], line["kind"], line["log_level"]) for line in lines] == [("event.failed", "Stored", "error")]
