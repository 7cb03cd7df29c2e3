"""The sockets of a turret: SUB for orders, PUSH for statuses and results, served by the program's own event loop.

The loop watches the descriptors that ZeroMQ gives for its sockets. They tell only of changes, so after everything that
is done with a socket its state is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from smartmob.turrets.protocol import LONGEST_MESSAGE
from smartmob.turrets.turret.outbox import Outbox

_HEARTBEAT_MS = 5_000
_SILENCE_MS = 20_000
_RECONNECT_MS = 100
"""A headquarters of OCT gives turrets one second before it orders fire, once."""

_QUEUE = 5_000
_ORDERS_AT_ONCE = 100
_FRAMES_AT_ONCE = 500
_FLUSH_MS = 5_000

_EVENTS = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED


@dataclass(frozen=True, slots=True)
class Keys:
    """CURVE keys: that of the headquarters, and the pair of this turret."""

    headquarters: bytes
    public: bytes
    secret: bytes


class TurretSockets:
    """Both sockets to one headquarters. After `open` you must `close`."""

    def __init__(
        self,
        address: str,
        ports: tuple[int, int],
        keys: Keys | None,
        heard: Callable[[bytes], None],
        changed: Callable[[bool], None],
    ) -> None:
        """`ports` are those for orders and results; `heard` takes orders, `changed` whether it is connected."""
        host = f"[{address}]" if ":" in address and not address.startswith("[") else address
        self._orders_at, self._results_at = (f"tcp://{host}:{port}" for port in ports)
        self._keys = keys
        self._heard = heard
        self._changed = changed
        self.connected = False
        self._context = zmq.Context()
        self._orders: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._results: zmq.Socket[bytes] | None = None
        self._outbox = Outbox(numbered=False)
        self._status: bytes | None = None
        self._again: asyncio.Handle | None = None

    def open(self, uuid: str) -> None:
        """Connect; ZeroMQ goes on trying by itself. Raises zmq.ZMQError for an address that is none."""
        orders = self._orders = self._socket(zmq.SUB)
        orders.setsockopt(zmq.SUBSCRIBE, b"")
        orders.setsockopt(zmq.SUBSCRIBE, uuid.encode())
        self._monitor = orders.get_monitor_socket(_EVENTS)
        orders.connect(self._orders_at)
        loop = asyncio.get_running_loop()
        loop.add_reader(orders.fileno(), self._read_orders)
        loop.add_reader(self._monitor.fileno(), self._read_monitor)
        self._open_results()
        self._read_monitor()
        self._read_orders()

    async def close(self, seconds: float) -> None:
        """Close; what is queued for a headquarters that listens is sent within `seconds`."""
        self._forget(self._orders)
        self._forget(self._monitor)
        if self._again is not None:
            self._again.cancel()
        if self._orders is not None:
            self._orders.disable_monitor()
            self._orders.close(linger=0)
        if self._monitor is not None:
            self._monitor.close(linger=0)
        self._close_results(int(seconds * 1000))
        # It waits for what lingers.
        await asyncio.to_thread(self._context.term)

    @property
    def idle(self) -> bool:
        """Tell whether everything was handed to ZeroMQ."""
        return self._status is None and self._outbox.next() is None

    def use(self, outbox: Outbox) -> None:
        """Send the messages of this outbox from now on."""
        self._outbox = outbox

    def send_status(self, frame: bytes) -> None:
        """Send a status before everything else; one that could not be sent yet is replaced."""
        self._status = frame
        self.pump()

    def pump(self) -> None:
        """Send what the connection takes."""
        results = self._results
        if results is None:
            return
        try:
            # Who hears of a turret gives it orders: it must be able to hear them.
            if self._status is not None and self.connected:
                results.send(self._status, zmq.NOBLOCK)
                self._status = None
            for _ in range(_FRAMES_AT_ONCE):
                frame = self._outbox.next()
                if frame is None:
                    return
                results.send(frame, zmq.NOBLOCK)
                self._outbox.sent()
        except zmq.Again:
            return
        self._soon()

    def flush(self) -> None:
        """Leave what ZeroMQ has queued to a socket of its own that gets some seconds, and begin with an empty one."""
        self._close_results(_FLUSH_MS)
        self._open_results()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        options = {
            zmq.LINGER: 0,
            zmq.IPV6: 1,
            zmq.MAXMSGSIZE: LONGEST_MESSAGE,
            zmq.HEARTBEAT_IVL: _HEARTBEAT_MS,
            zmq.HEARTBEAT_TIMEOUT: _SILENCE_MS,
            zmq.RECONNECT_IVL: _RECONNECT_MS,
            zmq.SNDHWM: _QUEUE,
            # Nothing is queued for a headquarters that is not there: it would get old statuses when it comes.
            zmq.IMMEDIATE: 1,
        }
        for option, value in options.items():
            made.setsockopt(option, value)
        if self._keys is not None:
            made.curve_serverkey = self._keys.headquarters
            made.curve_publickey = self._keys.public
            made.curve_secretkey = self._keys.secret
        return made

    def _open_results(self) -> None:
        results = self._results = self._socket(zmq.PUSH)
        results.connect(self._results_at)
        asyncio.get_running_loop().add_reader(results.fileno(), self._writable)
        self._writable()

    def _close_results(self, linger: int) -> None:
        self._forget(self._results)
        if self._results is not None:
            self._results.close(linger=linger)
            self._results = None

    def _forget(self, watched: zmq.Socket[bytes] | None) -> None:
        if watched is not None and not watched.closed:
            asyncio.get_running_loop().remove_reader(watched.fileno())

    def _writable(self) -> None:
        # Asking for the state is what makes the descriptor tell of the next change.
        if self._results is not None and int(self._results.get(zmq.EVENTS)) & zmq.POLLOUT:
            self.pump()

    def _read_orders(self) -> None:
        orders = self._orders
        for _ in range(_ORDERS_AT_ONCE):
            if orders is None or orders.closed:
                return
            try:
                frame = orders.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._heard(frame)
        self._soon()

    def _read_monitor(self) -> None:
        while self._monitor is not None and not self._monitor.closed:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))["event"]
            except zmq.Again:
                return
            self.connected = event == zmq.Event.HANDSHAKE_SUCCEEDED
            self._changed(self.connected)
            self.pump()

    def _soon(self) -> None:
        """Go on in the next turn of the loop: others have their turn in between."""
        if self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._again = None
        self._read_orders()
        self._writable()
