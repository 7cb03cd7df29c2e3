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


def test_single_ports_are_given_one_after_the_other() -> None:
    """One on which something listens is passed over, so that a test can have several at a time."""
    first = free_ports.single_port()
    with socket.create_server(("127.0.0.1", first)):
        found = [free_ports.single_port() for _ in range(200)]
    assert first not in found
    assert len(set(found[:10])) == 10
