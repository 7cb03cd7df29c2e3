"""Admits the turrets whose public CURVE key is in a list, by ZAP, the authentication protocol of ZeroMQ (RFC 27)."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
from zmq.utils import z85

from smartmob.kernel.observability.event_logger import get_logger
from smartmob.turrets.hq.key_list import KEY_BYTES, KeyList

log = get_logger()

_ADDRESS = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_REQUEST_PARTS = 7  # frames of a request with a CURVE key (RFC 27)
_LOG_INTERVAL_SECONDS = 1.0


class Authenticator:
    """The ZAP handler of a context: libzmq asks it, for each connection, whether the public key is allowed.

    `open` it before the sockets are bound, and `close` it after they are closed.
    """

    def __init__(self, keys: KeyList) -> None:
        self.keys = keys
        self._socket: Any = None
        self._last_logged_at = float("-inf")

    def open(self, context: Any) -> None:
        """Answer requests from now on."""
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(_ADDRESS)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.FD, self._read)
        loop.call_soon(self._read)

    def close(self) -> None:
        """Stop answering."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.FD)
            self._socket.close(linger=0)
            self._socket = None

    def _read(self) -> None:
        while self._socket is not None:
            try:
                request = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._answer(request))

    def _answer(self, request: list[bytes]) -> list[bytes]:
        version, number, _, address, _, mechanism, *credentials = request + [b""] * (_REQUEST_PARTS - len(request))
        key = z85.encode(credentials[0]).decode() if credentials and len(credentials[0]) == KEY_BYTES else ""
        if version == _VERSION and mechanism == b"CURVE" and key in self.keys:
            return [_VERSION, number, b"200", b"OK", key.encode(), b""]
        self.log_refusal(address.decode(errors="replace"), key)
        return [_VERSION, number, b"300", b"this key is not in the list", b"", b""]

    def log_refusal(self, address: str, key: str) -> None:
        """Log that a key was refused, at most once a second."""
        moment = asyncio.get_running_loop().time()
        if moment - self._last_logged_at >= _LOG_INTERVAL_SECONDS:
            self._last_logged_at = moment
            log.warning("turrets.key_refused", address=address, key=key)
