"""The event bus of the features: frozen objects named in the past tense, delivered in the order of publication."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

log = structlog.get_logger()

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class ServiceStopping:
    """The service takes no more work; what is under way is finished, and what goes on for ever has to end."""


class EventBus:
    """Delivers an event to the subscribers of its exact class, at once and in order.

    A subscriber is a plain function that returns quickly; what takes time belongs into a task of its own. Its
    exception is logged and reaches neither the publisher nor the other subscribers.
    """

    def __init__(self) -> None:
        self._subscribers: dict[type, list[Callable[[Any], None]]] = {}

    def subscribe(self, kind: type[E], subscriber: Callable[[E], None]) -> Callable[[], None]:
        """Call `subscriber` with each event of class `kind`; return the function that ends the subscription."""
        subscribers = self._subscribers.setdefault(kind, [])
        subscribers.append(subscriber)
        return lambda: subscribers.remove(subscriber)

    def publish(self, event: object) -> None:
        """Hand `event` to each subscriber of its class."""
        for subscriber in tuple(self._subscribers.get(type(event), ())):
            try:
                subscriber(event)
            except Exception:
                log.exception("event.failed", kind=type(event).__name__)
