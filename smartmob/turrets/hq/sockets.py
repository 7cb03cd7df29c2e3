"""The sockets of the headquarters: they publish orders, read the messages of turrets, and republish results.

Everything runs on the event loop of the service. The descriptor of a ZeroMQ socket signals a change only once, so a
socket is read until it is empty, some hundred messages at a time, with other work of the loop in between. Awaiting one
message at a time is thirteen times slower.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import zmq
from zmq.utils.monitor import parse_monitor_message

from smartmob.errors import SettingsError, StartupError
from smartmob.feature_settings import TurretsSettings
from smartmob.kernel.auth.bind_check import is_loopback
from smartmob.settings import secret
from smartmob.turrets.hq.authenticator import Authenticator
from smartmob.turrets.hq.key_list import KEY_LENGTH, KeyList
from smartmob.turrets.hq.peer_connections import PeerConnections
from smartmob.turrets.protocol import LONGEST_MESSAGE

log = structlog.get_logger()

_FAILURES = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
"""The events of a peer that does not speak ZeroMQ, or whose keys do not match; a refused key is logged with its
address.
"""
_LOG_SECONDS = 10.0
"""The shortest time between two log events about failed handshakes: a peer tries again ten times a second."""
_MESSAGES_AT_ONCE = 500
"""Messages that are read before the loop does other work."""
_BYTES_AT_ONCE = 256 * 1024
_LONGEST_TOPIC_BYTES = 1024
_MOST_TOPICS = 1000  # subscriptions that are remembered
_HIGH_WATER_MESSAGES = 20_000
"""The number of messages of each peer that ZeroMQ queues (ZMQ_RCVHWM, ZMQ_SNDHWM)."""
_LINGER_MS = 300
_HANDSHAKE_MS = 5_000
"""The time after which a peer without a complete handshake is disconnected and tries again; a peer with a refused key
waits as long.
"""


class HeadquartersSockets:
    """The three sockets; `on_frames` is called with messages as they arrive. After `open`, call `close`."""

    def __init__(self, settings: TurretsSettings, insecure: bool, on_frames: Callable[[list[bytes]], None]) -> None:
        self._settings = settings
        self._insecure = insecure
        self._on_frames = on_frames
        self.sender = ""
        """During `on_frames`, the public key of the turret that sent the messages; "" where keys are not used."""
        self._authenticator: Authenticator | None = None
        self._paused = False
        self._topics: set[bytes] = set()
        self._subscribers, self._viewers = PeerConnections(), PeerConnections()
        """With a list of keys, the connections for orders and those for republished results."""
        self._monitors: list[tuple[Any, Any]] = []
        self._context: Any = None
        self._orders: Any = None
        self._results: Any = None
        self._external: Any = None

    def open(self) -> None:
        """Bind the sockets and begin to read; raises StartupError."""
        keys = self._curve_keys()
        if not (is_loopback(self._settings.hq_host) or keys or self._insecure):
            raise StartupError(
                f"refusing to be the headquarters on {self._settings.hq_host}, since everyone who can connect could "
                "send results. Give --hq-curve-key-file FILE and the public key to the turrets, or listen on "
                "127.0.0.1, or accept the risk with --insecure."
            )
        self._authenticator = self._make_authenticator(keys)
        self._context = zmq.Context()
        try:
            if self._authenticator is not None:
                self._authenticator.open(self._context)
            # Publishers get subscriptions only, and libzmq keeps a node of 24 bytes for each byte of a subscription. An
            # XPUB sends what a PUB sends, and reports which peers subscribe.
            kind = zmq.PUB if self._authenticator is None else zmq.XPUB
            self._orders = self._bind(kind, self._settings.hq_publish_port, keys, _LONGEST_TOPIC_BYTES)
            self._results = self._bind(zmq.PULL, self._settings.hq_rc_port, keys, LONGEST_MESSAGE)
            self._external = self._bind(zmq.XPUB, self._settings.hq_external_port, keys, _LONGEST_TOPIC_BYTES)
        except BaseException:
            if self._authenticator is not None:
                self._authenticator.close()
            self._context.destroy(linger=0)
            self._context = None  # nothing is left to close
            raise
        loop = asyncio.get_running_loop()
        for socket, purpose in ((self._orders, "orders"), (self._results, "results")):
            self._watch(socket, purpose)
        readers = [(self._results, self._read), (self._external, self._read_topics)]
        if self._authenticator is not None:
            self._orders.xpub_verbose = self._external.xpub_verbose = True  # reports each peer's subscription
            readers.append((self._orders, self._read_subscribers))
        for watched, read in readers:
            loop.add_reader(watched.FD, read)
            loop.call_soon(read)  # the descriptor does not signal messages that came before it was watched

    async def close(self) -> None:
        """Stop reading, send queued messages for up to 300 ms, and release the ports."""
        context, self._context = self._context, None
        if context is None:
            return
        self._paused = True
        loop = asyncio.get_running_loop()
        for socket in (self._results, self._external, self._orders):
            loop.remove_reader(socket.FD)
        for monitor, watched in self._monitors:
            loop.remove_reader(monitor.fileno())
            watched.disable_monitor()
            monitor.close(linger=0)
        for socket in (self._orders, self._results, self._external):
            socket.close(linger=_LINGER_MS)
        if self._authenticator is not None:
            self._authenticator.close()
        await asyncio.to_thread(context.term)

    @property
    def ports(self) -> tuple[int, int, int]:
        """Return the ports of orders, results and republished results."""
        orders, results, external = (
            int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
            for socket in (self._orders, self._results, self._external)
        )
        return orders, results, external

    @property
    def keys(self) -> KeyList | None:
        """Return the keys of the turrets that may connect, or None if all may."""
        return None if self._authenticator is None else self._authenticator.keys

    @property
    def paused(self) -> bool:
        """Return whether reading is paused."""
        return self._paused

    @property
    def has_subscribers(self) -> bool:
        """Return whether there are subscriptions to republished results."""
        return bool(self._topics)

    def publish(self, frame: bytes) -> None:
        """Send an order to all connected turrets; after `close` nothing is sent."""
        if self._context is None or self._orders.closed:
            return
        self._orders.send(frame, zmq.NOBLOCK)
        if self._authenticator is not None:
            self._read_subscribers()  # sending may have consumed the signal of a subscription

    def end_revoked(self) -> None:
        """End the connections of turrets whose keys are no longer in the list."""
        if self._authenticator is not None and self._context is not None:
            orders, _, external = self.ports
            self._subscribers.end_revoked(self._authenticator.keys, orders)
            self._viewers.end_revoked(self._authenticator.keys, external)

    def republish(self, topic: bytes, frames: Sequence[bytes]) -> None:
        """Send results to the subscribers; ZeroMQ drops those for which a slow subscriber has no room."""
        send = self._external.send_multipart
        for frame in frames:
            send((topic, frame), zmq.NOBLOCK)
        # Sending may have consumed the signal of a subscription.
        self._read_topics()

    def pause(self) -> None:
        """Stop reading results: queues fill up to the high-water mark, and turrets wait."""
        self._paused = True

    def resume(self) -> None:
        """Read results again."""
        if self._paused and self._context is not None:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._read)

    def _read(self) -> None:
        if self._paused or self._context is None:
            return
        if self._authenticator is not None:
            self._read_authenticated(self._authenticator)
            return
        frames: list[bytes] = []
        add, receive, now = frames.append, self._results.recv, zmq.NOBLOCK
        more, size = True, 0
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                frame = receive(now)
                add(frame)
                size += len(frame)
                if size > _BYTES_AT_ONCE:
                    break
        except zmq.Again:
            more = False
        if frames:
            self._on_frames(frames)
        if more:
            asyncio.get_running_loop().call_soon(self._read)

    def _read_authenticated(self, authenticator: Authenticator) -> None:
        """Read messages with the keys of their senders, and drop those whose key was revoked."""
        groups: list[tuple[str, list[bytes]]] = []
        more, size = True, 0
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                message = self._results.recv(zmq.NOBLOCK, copy=False)
                sender, frame = message.get("User-Id"), message.bytes
                if sender not in authenticator.keys:
                    authenticator.log_refusal(message.get("Peer-Address"), sender)
                    continue
                if not groups or groups[-1][0] != sender:
                    groups.append((sender, []))
                groups[-1][1].append(frame)
                size += len(frame)
                if size > _BYTES_AT_ONCE:
                    break
        except zmq.Again:
            more = False
        for self.sender, frames in groups:
            self._on_frames(frames)
        self.sender = ""
        if more:
            asyncio.get_running_loop().call_soon(self._read)

    def _read_topics(self) -> None:
        if self._context is None:
            return
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                # The first byte is 1 for a subscription and 0 for its end (ZMQ_XPUB).
                message = self._external.recv(zmq.NOBLOCK, copy=False)
                change = message.bytes
                if self._authenticator is not None:
                    self._viewers.add(message)
                if change[:1] == b"\x01":
                    if len(self._topics) < _MOST_TOPICS:
                        self._topics.add(change[1:])
                else:
                    self._topics.discard(change[1:])
        except zmq.Again:
            return
        asyncio.get_running_loop().call_soon(self._read_topics)

    def _read_subscribers(self) -> None:
        """Remember the connections of the turrets that subscribe to orders."""
        if self._context is None:
            return
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                self._subscribers.add(self._orders.recv(zmq.NOBLOCK, copy=False))
        except zmq.Again:
            return
        asyncio.get_running_loop().call_soon(self._read_subscribers)

    def _watch(self, watched: Any, purpose: str) -> None:
        """Log the peers of a socket that do not complete the handshake, at most one in ten seconds."""
        monitor = watched.get_monitor_socket(_FAILURES)
        self._monitors.append((monitor, watched))
        last_logged_at = float("-inf")

        def read() -> None:
            nonlocal last_logged_at
            if monitor.closed:
                return  # it is called once more after the end
            try:
                for _ in range(_MESSAGES_AT_ONCE):
                    parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))
                    now = asyncio.get_running_loop().time()
                    if now - last_logged_at >= _LOG_SECONDS:
                        last_logged_at = now
                        reason = "it lacks the key of this headquarters" if watched.curve_server else "it uses a key"
                        log.warning("turrets.handshake_failed", port=purpose, reason=f"{reason}, or is not a turret")
            except zmq.Again:
                return
            asyncio.get_running_loop().call_soon(read)

        asyncio.get_running_loop().add_reader(monitor.fileno(), read)
        asyncio.get_running_loop().call_soon(read)

    def _socket(self, kind: int, keys: tuple[bytes, bytes] | None, longest_bytes: int) -> Any:
        socket = self._context.socket(kind)
        socket.set_hwm(_HIGH_WATER_MESSAGES)
        socket.setsockopt(zmq.LINGER, _LINGER_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, longest_bytes)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        if keys is not None:
            socket.curve_server = True
            socket.zap_domain = b"turrets"
            socket.curve_publickey, socket.curve_secretkey = keys
        return socket

    def _bind(self, kind: int, port: int, keys: tuple[bytes, bytes] | None, longest_bytes: int) -> Any:
        socket = self._socket(kind, keys, longest_bytes)
        host = "127.0.0.1" if self._settings.hq_host == "localhost" else self._settings.hq_host
        try:
            socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            raise StartupError(
                f"the headquarters cannot listen on {host}:{port}: {error.strerror}. Is another one running? "
                "Other ports: --hq-publish-port, --hq-rc-port, --hq-external-port (0 picks a free port)."
            ) from None
        return socket

    def _make_authenticator(self, keys: tuple[bytes, bytes] | None) -> Authenticator | None:
        """Return the authenticator of turrets, or None if all may connect."""
        if self._settings.hq_turret_keys is None:
            return None
        if keys is None:
            raise SettingsError("--hq-turret-keys needs a key of the headquarters, too: --hq-curve-key-file FILE")
        return Authenticator(KeyList(self._settings.hq_turret_keys, self.end_revoked))

    def _curve_keys(self) -> tuple[bytes, bytes] | None:
        """Return the public and the secret key of the headquarters, or None without CURVE."""
        path = self._settings.hq_curve_key_file
        if path is None:
            return None
        key = secret(path, "--hq-curve-key-file").encode(errors="replace")
        try:
            if len(key) != KEY_LENGTH:
                raise ValueError
            return zmq.curve_public(key), key
        except (ValueError, zmq.ZMQError):
            raise SettingsError(
                f"--hq-curve-key-file: {path} holds no secret CURVE key (40 characters of Z85)"
            ) from None
