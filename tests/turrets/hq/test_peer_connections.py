"""Connections of peers by descriptor: those of a revoked key are shut down, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from smartmob.turrets.hq.peer_connections import PeerConnections


class _Message:
    """A message with the metadata that ZeroMQ adds."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = metadata

    def get(self, name: str) -> str:
        """Return one value; raises LookupError as pyzmq does, if there is none."""
        return self._metadata[name]


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Return an accepted connection, its peer, and the port."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        peer = stack.enter_context(socket.create_connection(listener.getsockname()))
        accepted = stack.enter_context(listener.accept()[0])
        yield accepted, peer, listener.getsockname()[1]


def _known(connection: socket.socket) -> PeerConnections:
    known = PeerConnections()
    known.add(_Message(**{"__fd": str(connection.fileno()), "User-Id": "key"}))
    known.add(_Message())  # the end of a subscription
    assert len(known) == 1
    return known


def test_a_revoked_connection_is_shut_down(pair: tuple[socket.socket, socket.socket, int]) -> None:
    """The peer sees the end of the connection, and the connection is forgotten."""
    accepted, peer, port = pair
    known = _known(accepted)
    known.end_revoked({"key"}, port)
    accepted.send(b"x")
    assert peer.recv(10) == b"x"
    known.end_revoked(set(), port)
    assert peer.recv(10) == b""
    assert len(known) == 0


def test_a_descriptor_that_belongs_to_something_else_is_left_alone(
    pair: tuple[socket.socket, socket.socket, int],
) -> None:
    """A connection to another port, a listener, a file and a closed descriptor are not shut down."""
    accepted, peer, port = pair
    _known(accepted).end_revoked(set(), port + 1)
    accepted.send(b"x")
    assert peer.recv(10) == b"x"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _known(listener).end_revoked(set(), listener.getsockname()[1])
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
    with open("/dev/null", "rb") as file:
        known = PeerConnections()
        known.add(_Message(**{"__fd": str(file.fileno()), "User-Id": "key"}))
        known.end_revoked(set(), port)
        assert file.read() == b""
    known = PeerConnections()
    known.add(_Message(**{"__fd": "1000000", "User-Id": "key"}))
    known.end_revoked(set(), port)
    assert len(known) == 0
