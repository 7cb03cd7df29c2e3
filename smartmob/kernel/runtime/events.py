"""The event bus of the features. Events are frozen objects, delivered in the order of publication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()

E = TypeVar("E")


class ServiceStopping(msgspec.Struct, frozen=True):
    """The service accepts no more work. Requests in progress are completed, and background work must end."""


class EventBus:
    """Delivers each event to the subscribers of its exact class, before `publish` returns.

    A subscriber is a plain function that returns quickly; longer work belongs in a task. An exception of a subscriber
    is logged, and reaches neither the publisher nor the other subscribers.
    """

    def __init__(self) -> None:
        self._subscribers: dict[type, list[Callable[[Any], None]]] = {}

    def subscribe(self, kind: type[E], subscriber: Callable[[E], None]) -> Callable[[], None]:
        """Call `subscriber` with each event of class `kind`; return a function that ends the subscription."""
        subscribers = self._subscribers.setdefault(kind, [])
        subscribers.append(subscriber)
        return lambda: subscribers.remove(subscriber)

    def publish(self, event: object) -> None:
        """Call each subscriber of the class of `event`."""
        for subscriber in tuple(self._subscribers.get(type(event), ())):
            try:
                subscriber(event)
            except Exception:
                log.exception("event.failed", kind=type(event).__name__)
