"""The choice of ports for programs of tests."""

from __future__ import annotations

import socket

from tests import free_ports


def test_a_block_with_a_used_port_is_passed_over() -> None:
    """It is chosen again and again until something listens in it."""
    base = free_ports.free_block()
    with socket.create_server(("127.0.0.1", base + 101)):
        found = {free_ports.free_block() for _ in range(300)}
    assert base not in found
    assert len(found) > 1
