"""The recorder of the calls that clients send to the commands of nodes."""

from __future__ import annotations

from collections.abc import Callable

from smartmob.errors import Conflict
from smartmob.kernel.audit import recorded_calls
from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.runtime.events import EventBus
from smartmob.nodes import protocol


class CallRecorder:
    """Publishes the calls of commands of nodes for the audit log, and refuses those that a reservation forbids."""

    def __init__(self, guard: ReservationGuard, bus: EventBus) -> None:
        self._guard = guard
        self._bus = bus

    def of(self, node: str, client: str) -> Callable[[str], str | None]:
        """Return the function that publishes the calls among the messages for the commands of a node.

        For a call that is refused because another client has reserved the node, it returns the answer.
        """

        def record(text: str) -> str | None:
            called = recorded_calls.read(text)
            if called is None:
                return None
            try:
                self._guard.check_call(called[0], node)
            except Conflict as error:
                self._bus.publish(CommandCalled(called[0], called[1], client, "refused: reserved", node))
                return protocol.refused_call(text, str(error))
            self._bus.publish(CommandCalled(called[0], called[1], client, "passed on", node))
            return None

        return record
