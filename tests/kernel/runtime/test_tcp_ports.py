"""TCP ports in use."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from smartmob.kernel.runtime.tcp_ports import is_listened_on, lasting_ports
from tests import free_ports


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")]
)
def test_a_listener_is_seen(family: int, address: str) -> None:
    """It may listen on one address only, and a closed one is not seen."""
    port = free_ports.single_port()
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        assert is_listened_on(port)
    assert not is_listened_on(port)


def test_no_outgoing_connection_gets_a_lasting_port() -> None:
    """The ports are different ones, nothing listens on them, and the system gives them to no outgoing connection."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = lasting_ports(20)
    assert len(set(found)) == 20
    assert all(0 < port < first and not is_listened_on(port) for port in found)
