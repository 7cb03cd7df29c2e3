"""The bus: who hears what, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from smartmob.kernel.runtime.events import EventBus


@dataclass(frozen=True)
class Stored:
    """Something was stored."""

    count: int


@dataclass(frozen=True)
class StoredTwice(Stored):
    """A narrower event."""


def test_in_the_order_of_publication() -> None:
    """A subscriber hears each event of its class once and in order."""
    bus = EventBus()
    heard: list[Stored] = []
    bus.subscribe(Stored, heard.append)

    for count in range(5):
        bus.publish(Stored(count))

    assert [event.count for event in heard] == [0, 1, 2, 3, 4]


def test_only_the_exact_class() -> None:
    """An event of a subclass or of another class is not heard."""
    bus = EventBus()
    heard: list[object] = []
    bus.subscribe(Stored, heard.append)

    bus.publish(StoredTwice(1))
    bus.publish("a text")

    assert heard == []


def test_in_the_order_of_subscription() -> None:
    """Several subscribers are told one after the other."""
    bus = EventBus()
    heard: list[str] = []
    bus.subscribe(Stored, lambda _: heard.append("first"))
    bus.subscribe(Stored, lambda _: heard.append("second"))

    bus.publish(Stored(1))

    assert heard == ["first", "second"]


def test_a_subscription_ends() -> None:
    """After its end a subscriber hears nothing, and the others still do."""
    bus = EventBus()
    heard: list[str] = []
    end = bus.subscribe(Stored, lambda _: heard.append("left"))
    bus.subscribe(Stored, lambda _: heard.append("stays"))

    end()
    bus.publish(Stored(1))

    assert heard == ["stays"]


def test_a_subscription_that_ends_itself() -> None:
    """Who leaves while being told does not make others miss the event."""
    bus = EventBus()
    heard: list[str] = []

    def once(_: Stored) -> None:
        heard.append("once")
        end()

    end = bus.subscribe(Stored, once)
    bus.subscribe(Stored, lambda _: heard.append("always"))

    bus.publish(Stored(1))
    bus.publish(Stored(2))

    assert heard == ["once", "always", "always"]


def test_a_failing_subscriber_is_alone_with_it() -> None:
    """Its exception is logged with the kind of the event; the publisher and the others do not notice."""
    bus = EventBus()
    heard: list[Stored] = []

    def fail(_: Stored) -> None:
        raise ValueError("cannot")

    bus.subscribe(Stored, fail)
    bus.subscribe(Stored, heard.append)

    with structlog.testing.capture_logs() as lines:
        bus.publish(Stored(1))

    assert heard == [Stored(1)]
    assert [(line["event"], line["kind"], line["log_level"]) for line in lines] == [("event.failed", "Stored", "error")]
