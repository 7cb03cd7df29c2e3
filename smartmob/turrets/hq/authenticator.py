"""Tells which turrets may connect: those whose public CURVE key is in a list (ZAP, RFC 27 of ZeroMQ)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog
import zmq
from zmq.utils import z85

from smartmob.errors import SettingsError
from smartmob.turrets.protocol import printable

log = structlog.get_logger()

_ADDRESS = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
KEY_LENGTH = 40
_KEY_BYTES = 32
_REQUEST_PARTS = 7
_MOST_KEYS = 100_000
_SECONDS_BETWEEN_WORDS = 1.0
_LOOK_EVERY = 1.0


def read_keys(path: Path) -> dict[str, str]:
    """Return the names of turrets by their public keys: one key a line, with a name or comment behind it if wanted.

    Empty lines and those that begin with `#` are skipped (a key may begin so, and has 40 characters). Raises
    SettingsError.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise SettingsError(f"--hq-turret-keys: {path} cannot be read: {error.strerror}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, _, name = line.strip().partition(" ")
        if not key or (key.startswith("#") and not is_key(key)):
            continue
        if not is_key(key):
            raise SettingsError(
                f"--hq-turret-keys: line {number} of {path} begins with no public key of CURVE (40 characters of Z85)"
            )
        found[key] = printable(name.strip().removeprefix("#").strip())
    if len(found) > _MOST_KEYS:
        raise SettingsError(f"--hq-turret-keys: {path} holds more than {_MOST_KEYS} keys")
    return found


def is_key(text: str) -> bool:
    """Return whether a text could be a key of CURVE."""
    try:
        return len(text) == KEY_LENGTH and len(z85.decode(text.encode())) == _KEY_BYTES
    except (ValueError, KeyError, UnicodeError):
        return False


class KeyList:
    """The public keys in a file, which is read again when it has changed; a file with an error changes nothing."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises SettingsError."""
        self._path = path
        self._seen = _state(path)
        self._keys = read_keys(path)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    async def follow(self) -> None:
        """Look each second whether the file has changed."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Read the file if it has changed since it was last read."""
        state = _state(self._path)
        if state == self._seen:
            return
        # Before it is read: what changes meanwhile is seen the next time.
        self._seen = state
        try:
            self._keys = read_keys(self._path)
        except SettingsError as error:
            log.error("turrets.keys_unreadable", reason=str(error), keys=len(self._keys))
            return
        log.info("turrets.keys_read", path=str(self._path), keys=len(self._keys))


def _state(path: Path) -> tuple[int, ...]:
    """Return what differs once a file was written or replaced; () while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


class Authenticator:
    """Answers libzmq, for all sockets of one context, whether a peer with some public key may connect.

    `open` it before the sockets are bound, and `close` it after they are closed.
    """

    def __init__(self, keys: KeyList) -> None:
        self.keys = keys
        self._socket: Any = None
        self._said = float("-inf")

    def open(self, context: Any) -> None:
        """Begin to answer."""
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(_ADDRESS)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.FD, self._read)
        loop.call_soon(self._read)

    def close(self) -> None:
        """Answer no more."""
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
        key = z85.encode(credentials[0]).decode() if credentials and len(credentials[0]) == _KEY_BYTES else ""
        if version == _VERSION and mechanism == b"CURVE" and key in self.keys:
            return [_VERSION, number, b"200", b"OK", key.encode(), b""]
        self.refuse(address.decode(errors="replace"), key)
        return [_VERSION, number, b"300", b"this key is not in the list", b"", b""]

    def refuse(self, address: str, key: str) -> None:
        """Log that somebody is not heard, at most once a second."""
        moment = asyncio.get_running_loop().time()
        if moment - self._said >= _SECONDS_BETWEEN_WORDS:
            self._said = moment
            log.warning("turrets.key_refused", address=address, key=key)
