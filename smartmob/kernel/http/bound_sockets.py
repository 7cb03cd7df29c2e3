"""The sockets on which the service will listen. They are bound before all else, so that a taken port starts nothing."""

from __future__ import annotations

import socket

from smartmob.errors import StartupError


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
        raise StartupError(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port, or --port 0."
        ) from None
    return sock


def bind_together(host: str, port: int, number: int) -> list[socket.socket]:
    """Return `number` bound sockets of one port; the system divides the connections among them. Raises StartupError."""
    with bind(host, port) as alone:  # unlike a shared socket, it fails if another service listens on the port
        family, address = alone.family, alone.getsockname()
    sockets: list[socket.socket] = []
    try:
        for _ in range(number):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise StartupError(f"cannot listen on {host} port {address[1]} several times: {error.strerror}") from None
    return sockets
