"""The sockets on which the service will listen. They are bound before all else, so that a taken port starts nothing."""

from __future__ import annotations

import socket

from smartmob.errors import StartupError


class _LockedSocket(socket.socket):
    """A socket that holds the lock of its port until it is closed."""

    lock: socket.socket | None = None

    def close(self) -> None:
        super().close()
        if self.lock is not None:
            self.lock.close()


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket. Raises StartupError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is not a valid host name"
        raise StartupError(f"cannot listen on {host}: {reason}") from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise _taken(host, port, error) from None
    return sock


def bind_together(host: str, port: int, number: int) -> list[socket.socket]:
    """Return `number` bound sockets of one port; the system divides the connections among them. Raises StartupError."""
    with bind(host, port) as alone:  # unlike a shared socket, it fails if another service listens on the port
        family, address = alone.family, alone.getsockname()
    sockets: list[socket.socket] = []
    try:
        lock = _lock(address)
    except OSError as error:
        raise _taken(host, address[1], error) from None
    try:
        for _ in range(number):
            sock = _LockedSocket(family, socket.SOCK_STREAM)
            sock.lock = lock
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
    except OSError as error:
        lock.close()
        for bound in sockets:
            bound.close()
        raise StartupError(f"cannot listen on {host} port {address[1]} several times: {error.strerror}") from None
    return sockets


def _lock(address: tuple[str, int]) -> socket.socket:
    """Return a socket that no second service can make for this address. Raises OSError.

    While no socket of a port listens, Linux lets another service bind shared ones to it (socket(7), SO_REUSEPORT), and
    a service listens only when its database has started. The name of the socket is abstract (unix(7)): it ends with
    the process.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0smartmob {address[0]} {address[1]}")
    except OSError:
        lock.close()
        raise
    return lock


def _taken(host: str, port: int, error: OSError) -> StartupError:
    return StartupError(
        f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port, or --port 0."
    )
