"""The ZeroMQ sockets of a turret on the asyncio event loop: SUB for orders, PUSH for statuses and results.

The loop watches the ZMQ_FD descriptors of the sockets. These are edge-triggered: they become readable when the state of
a socket changes, so ZMQ_EVENTS is read again after each operation on a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from smartmob.turrets.protocol import LONGEST_MESSAGE
from smartmob.turrets.turret.connection_diagnosis import OVERDUE_SECONDS, ConnectionDiagnosis
from smartmob.turrets.turret.outbox import Outbox

_HEARTBEAT_MS = 5_000
"""Time between two ZMTP heartbeats."""
_HEARTBEAT_TIMEOUT_MS = 20_000
"""Time without any message from the other side after which the connection counts as lost."""
_RECONNECT_MS = 100
"""Short, because a headquarters of OCT sends `start` once, one second after it has bound its ports."""

_QUEUE_MESSAGES = 5_000
"""High-water mark: messages that ZeroMQ queues before the outbox has to wait."""
_PASS_ORDERS_MESSAGES = 100
_PASS_RESULTS_MESSAGES = 500
"""Messages that are received and sent in one pass of the event loop."""
_FLUSH_MS = 5_000
"""Linger time of the results for a headquarters of OCT after a run."""

_EVENTS = (
    zmq.Event.CONNECTED
    | zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.DISCONNECTED
    | zmq.Event.CLOSED
)

_OPTIONS = {
    zmq.LINGER: 0,
    zmq.IPV6: 1,
    zmq.MAXMSGSIZE: LONGEST_MESSAGE,
    zmq.HEARTBEAT_IVL: _HEARTBEAT_MS,
    zmq.HEARTBEAT_TIMEOUT: _HEARTBEAT_TIMEOUT_MS,
    zmq.RECONNECT_IVL: _RECONNECT_MS,
    zmq.SNDHWM: _QUEUE_MESSAGES,
    # No queue without a connection: a headquarters that connects later would get outdated statuses.
    zmq.IMMEDIATE: 1,
}
"""The options of both sockets; zmq_setsockopt(3)."""


class Keys(msgspec.Struct, frozen=True):
    """CURVE keys: the public key of the headquarters, and the key pair of this turret."""

    headquarters: bytes
    public: bytes
    secret: bytes


class TurretSockets:
    """The connection to one headquarters. After `open` you must `close`."""

    def __init__(
        self,
        address: str,
        ports: tuple[int, int],
        keys: Keys | None,
        on_order: Callable[[bytes], None],
        on_connection: Callable[[bool], None],
        on_diagnosis: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare the sockets; `ports` are (orders, results).

        `on_order` is called with each order, `on_connection` with True after a connection and False after its loss,
        `on_diagnosis` with a line that says why there is no connection.
        """
        host = f"[{address}]" if ":" in address and not address.startswith("[") else address
        self._orders_at, self._results_at = (f"tcp://{host}:{port}" for port in ports)
        self._keys = keys
        self._on_order = on_order
        self._on_connection = on_connection
        self._on_diagnosis = on_diagnosis
        self.connected = False
        self._orders_diagnosis = ConnectionDiagnosis(self._orders_at, "orders", has_keys=keys is not None)
        self._results_diagnosis = ConnectionDiagnosis(self._results_at, "results", has_keys=keys is not None)
        self._overdue: asyncio.TimerHandle | None = None
        self._context = zmq.Context()
        self._orders: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._results: zmq.Socket[bytes] | None = None
        self._results_monitor: zmq.Socket[bytes] | None = None
        self._opened_results = 0
        self._outbox = Outbox(numbered=False)
        self._status: bytes | None = None
        self._next_pass: asyncio.Handle | None = None

    def open(self, uuid: str) -> None:
        """Connect; ZeroMQ reconnects by itself. Raises zmq.ZMQError for an invalid address."""
        orders = self._orders = self._socket(zmq.SUB)
        orders.setsockopt(zmq.SUBSCRIBE, b"")
        orders.setsockopt(zmq.SUBSCRIBE, uuid.encode())
        self._monitor = orders.get_monitor_socket(_EVENTS)
        orders.connect(self._orders_at)
        loop = asyncio.get_running_loop()
        loop.add_reader(orders.fileno(), self._read_orders)
        loop.add_reader(self._monitor.fileno(), self._read_monitor)
        self._open_results()
        self._overdue = loop.call_later(OVERDUE_SECONDS, self._say_overdue)
        self._read_monitor()
        self._read_orders()

    async def close(self, seconds: float) -> None:
        """Close; messages queued for a connected headquarters are sent within `seconds`, or lost."""
        self._stop_watching(self._orders)
        self._stop_watching(self._monitor)
        for timer in (self._next_pass, self._overdue):
            if timer is not None:
                timer.cancel()
        if self._orders is not None:
            self._orders.disable_monitor()
            self._orders.close(linger=0)
        if self._monitor is not None:
            self._monitor.close(linger=0)
        self._close_results(int(seconds * 1000))
        # It blocks until lingering messages are sent or expire.
        await asyncio.to_thread(self._context.term)

    @property
    def idle(self) -> bool:
        """Return whether all messages were handed to ZeroMQ."""
        return self._status is None and self._outbox.next() is None

    def use(self, outbox: Outbox) -> None:
        """Send the messages of `outbox` from now on."""
        self._outbox = outbox

    def send_status(self, frame: bytes) -> None:
        """Send a status before all other messages; it replaces a status that is not sent yet."""
        self._status = frame
        self.pump()

    def pump(self) -> None:
        """Send as many messages as ZeroMQ accepts now, at most 500 in one pass of the event loop."""
        results = self._results
        if results is None:
            return
        try:
            # A headquarters sends orders as soon as it knows the turret, so the socket for orders must be connected.
            if self._status is not None and self.connected:
                results.send(self._status, zmq.NOBLOCK)
                self._status = None
            for _ in range(_PASS_RESULTS_MESSAGES):
                frame = self._outbox.next()
                if frame is None:
                    return
                results.send(frame, zmq.NOBLOCK)
                self._outbox.sent()
        except zmq.Again:
            return
        self._schedule_pass()

    def flush(self) -> None:
        """Close the socket for results with a linger time for its queued messages, and open a new one."""
        self._close_results(_FLUSH_MS)
        self._open_results()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        for option, value in _OPTIONS.items():
            made.setsockopt(option, value)
        if self._keys is not None:
            made.curve_serverkey = self._keys.headquarters
            made.curve_publickey = self._keys.public
            made.curve_secretkey = self._keys.secret
        return made

    def _open_results(self) -> None:
        results = self._results = self._socket(zmq.PUSH)
        # Each monitor needs an address of its own: the address of a closed socket is not free at once.
        self._opened_results += 1
        monitor = results.get_monitor_socket(_EVENTS, addr=f"inproc://results-{self._opened_results}")
        self._results_monitor = monitor
        results.connect(self._results_at)
        loop = asyncio.get_running_loop()
        loop.add_reader(results.fileno(), self._writable)
        loop.add_reader(monitor.fileno(), self._read_results_monitor)
        self._read_results_monitor()
        self._writable()

    def _close_results(self, linger: int) -> None:
        self._stop_watching(self._results)
        self._stop_watching(self._results_monitor)
        if self._results_monitor is not None and self._results is not None:
            self._results.disable_monitor()
            self._results_monitor.close(linger=0)
            self._results_monitor = None
        if self._results is not None:
            self._results.close(linger=linger)
            self._results = None

    def _stop_watching(self, watched: zmq.Socket[bytes] | None) -> None:
        if watched is not None and not watched.closed:
            asyncio.get_running_loop().remove_reader(watched.fileno())

    def _writable(self) -> None:
        # Reading ZMQ_EVENTS re-arms the edge-triggered descriptor.
        if self._results is not None and int(self._results.get(zmq.EVENTS)) & zmq.POLLOUT:
            self.pump()

    def _read_orders(self) -> None:
        orders = self._orders
        for _ in range(_PASS_ORDERS_MESSAGES):
            if orders is None or orders.closed:
                return
            try:
                frame = orders.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_order(frame)
        self._schedule_pass()

    def _read_monitor(self) -> None:
        while (event := _next_event(self._monitor)) is not None:
            self._report(self._orders_diagnosis.handle(event))
            if event in ("HANDSHAKE_SUCCEEDED", "DISCONNECTED"):
                self.connected = event == "HANDSHAKE_SUCCEEDED"
                self._on_connection(self.connected)
                self.pump()

    def _read_results_monitor(self) -> None:
        while (event := _next_event(self._results_monitor)) is not None:
            self._report(self._results_diagnosis.handle(event))

    def _say_overdue(self) -> None:
        for diagnosis in (self._orders_diagnosis, self._results_diagnosis):
            self._report(diagnosis.overdue())

    def _report(self, line: str | None) -> None:
        if line is not None:
            self._on_diagnosis(line)

    def _schedule_pass(self) -> None:
        """Continue in the next pass of the event loop, so that other callbacks run in between."""
        if self._next_pass is None:
            self._next_pass = asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        self._next_pass = None
        self._read_orders()
        self._writable()


def _next_event(monitor: zmq.Socket[bytes] | None) -> str | None:
    """Return the name of the next event of a monitor, or None when there is none."""
    if monitor is None or monitor.closed:
        return None
    try:
        number = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))["event"]
    except zmq.Again:
        return None
    return zmq.Event(number).name
