"""The sockets of the headquarters: orders go out, what turrets send comes in, results are passed on to whoever asks.

Everything runs on the service's own loop. ZeroMQ tells by a descriptor that something has changed, and tells it once:
so a socket is read until it is empty, some hundred messages at a time with others of the loop in between. Awaiting one
message at a time is thirteen times slower.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from smartmob.errors import SettingsError, StartupError
from smartmob.kernel.auth.authenticator import is_loopback
from smartmob.settings import TurretsSettings, secret
from smartmob.turrets.hq.authenticator import Authenticator, KeyList
from smartmob.turrets.protocol import LONGEST_MESSAGE

_AT_ONCE = 500
_BYTES_AT_ONCE = 256 * 1024
_LONGEST_TOPIC = 1024
_MOST_TOPICS = 1000
_HIGH_WATER = 20_000
_LINGER_MS = 300
_KEY_LENGTH = 40


class HeadquartersSockets:
    """Three sockets; `take` is given messages as they come. After `open` you must `close`."""

    def __init__(self, settings: TurretsSettings, insecure: bool, take: Callable[[list[bytes]], None]) -> None:
        self._settings = settings
        self._insecure = insecure
        self._take = take
        self.sender = ""
        """The key of the turret whose messages are handed on just now; "" where keys are not known."""
        self._authenticator: Authenticator | None = None
        self._paused = False
        self._topics: set[bytes] = set()
        self._context: Any = None
        self._orders: Any = None
        self._results: Any = None
        self._external: Any = None

    def open(self) -> None:
        """Bind the sockets and begin to read; raises StartupError."""
        keys = self._keys()
        if not (is_loopback(self._settings.hq_host) or keys or self._insecure):
            raise StartupError(
                f"refusing to be the headquarters on {self._settings.hq_host}, since everybody who can connect could "
                "send results. Give --hq-curve-key-file FILE and the public key to the turrets, or listen on "
                "127.0.0.1, or accept the risk with --insecure."
            )
        self._authenticator = self._allowed(keys)
        self._context = zmq.Context()
        try:
            if self._authenticator is not None:
                self._authenticator.open(self._context)
            # To the first and the last, peers send subscriptions only, and libzmq keeps a node for each byte of them.
            self._orders = self._bind(zmq.PUB, self._settings.hq_publish_port, keys, _LONGEST_TOPIC)
            self._results = self._bind(zmq.PULL, self._settings.hq_rc_port, keys, LONGEST_MESSAGE)
            self._external = self._bind(zmq.XPUB, self._settings.hq_external_port, keys, _LONGEST_TOPIC)
        except BaseException:
            if self._authenticator is not None:
                self._authenticator.close()
            self._context.destroy(linger=0)
            raise
        loop = asyncio.get_running_loop()
        loop.add_reader(self._results.FD, self._read)
        loop.add_reader(self._external.FD, self._read_topics)
        # What came before the descriptors were watched is told by nobody.
        loop.call_soon(self._read)
        loop.call_soon(self._read_topics)

    async def close(self) -> None:
        """Stop to read, send what is under way, and release the ports."""
        if self._context is None:
            return
        self._paused = True
        loop = asyncio.get_running_loop()
        for socket in (self._results, self._external):
            loop.remove_reader(socket.FD)
        for socket in (self._orders, self._results, self._external):
            socket.close(linger=_LINGER_MS)
        if self._authenticator is not None:
            self._authenticator.close()
        await asyncio.to_thread(self._context.term)
        self._context = None

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
        """Return the keys of the turrets that are heard, or None where any is."""
        return None if self._authenticator is None else self._authenticator.keys

    @property
    def paused(self) -> bool:
        """Return whether nothing is read now."""
        return self._paused

    @property
    def wanted(self) -> bool:
        """Return whether anybody has subscribed to results."""
        return bool(self._topics)

    def publish(self, frame: bytes) -> None:
        """Send an order to every turret that is connected."""
        self._orders.send(frame, zmq.NOBLOCK)

    def republish(self, topic: bytes, frames: Sequence[bytes]) -> None:
        """Pass results on to subscribers; those of one who does not keep up are dropped."""
        send = self._external.send_multipart
        for frame in frames:
            send((topic, frame), zmq.NOBLOCK)
        # Sending may have eaten the news of a subscription.
        self._read_topics()

    def pause(self) -> None:
        """Read nothing more: the high-water mark makes turrets wait."""
        self._paused = True

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._context is not None:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._read)

    def _read(self) -> None:
        if self._paused or self._context is None:
            return
        if self._authenticator is not None:
            self._read_known(self._authenticator)
            return
        frames: list[bytes] = []
        add, receive, now = frames.append, self._results.recv, zmq.NOBLOCK
        more, size = True, 0
        try:
            for _ in range(_AT_ONCE):
                frame = receive(now)
                add(frame)
                size += len(frame)
                if size > _BYTES_AT_ONCE:
                    break
        except zmq.Again:
            more = False
        if frames:
            self._take(frames)
        if more:
            asyncio.get_running_loop().call_soon(self._read)

    def _read_known(self, authenticator: Authenticator) -> None:
        """Do what `_read` does where each message tells whose it is, and leave out those of keys that were revoked."""
        groups: list[tuple[str, list[bytes]]] = []
        more, size = True, 0
        try:
            for _ in range(_AT_ONCE):
                message = self._results.recv(zmq.NOBLOCK, copy=False)
                sender, frame = message.get("User-Id"), message.bytes
                if sender not in authenticator.keys:
                    authenticator.refuse(message.get("Peer-Address"), sender)
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
            self._take(frames)
        self.sender = ""
        if more:
            asyncio.get_running_loop().call_soon(self._read)

    def _read_topics(self) -> None:
        if self._context is None:
            return
        try:
            while True:
                news = self._external.recv(zmq.NOBLOCK)
                if news[:1] == b"\x01":
                    if len(self._topics) < _MOST_TOPICS:
                        self._topics.add(news[1:])
                else:
                    self._topics.discard(news[1:])
        except zmq.Again:
            return

    def _bind(self, kind: int, port: int, keys: tuple[bytes, bytes] | None, longest: int) -> Any:
        socket = self._context.socket(kind)
        socket.set_hwm(_HIGH_WATER)
        socket.setsockopt(zmq.LINGER, _LINGER_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, longest)
        if keys is not None:
            socket.curve_server = True
            socket.zap_domain = b"turrets"
            socket.curve_publickey, socket.curve_secretkey = keys
        host = "127.0.0.1" if self._settings.hq_host == "localhost" else self._settings.hq_host
        try:
            socket.bind(f"tcp://{host}:{port or '*'}")
        except zmq.ZMQError as error:
            raise StartupError(
                f"the headquarters cannot listen on {host}:{port}: {error.strerror}. Is another one running? "
                "Other ports: --hq-publish-port, --hq-rc-port, --hq-external-port (0 takes a free one)."
            ) from None
        return socket

    def _allowed(self, keys: tuple[bytes, bytes] | None) -> Authenticator | None:
        """Return who knows the turrets that may connect, or None where any may."""
        if self._settings.hq_turret_keys is None:
            return None
        if keys is None:
            raise SettingsError("--hq-turret-keys needs a key of the headquarters, too: --hq-curve-key-file FILE")
        return Authenticator(KeyList(self._settings.hq_turret_keys))

    def _keys(self) -> tuple[bytes, bytes] | None:
        """Return the public and the secret key, or None without CURVE."""
        path = self._settings.hq_curve_key_file
        if path is None:
            return None
        key = secret(path, "--hq-curve-key-file").encode(errors="replace")
        try:
            if len(key) != _KEY_LENGTH:
                raise ValueError
            return zmq.curve_public(key), key
        except (ValueError, zmq.ZMQError):
            raise SettingsError(
                f"--hq-curve-key-file: {path} holds no secret key of CURVE (40 characters of Z85)"
            ) from None
