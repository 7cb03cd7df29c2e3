"""The listening sockets of a service with workers."""

from __future__ import annotations

import socket

import pytest

from smartmob.cli import worker_start
from smartmob.errors import StartupError
from smartmob.settings import Settings


def test_a_port_of_another_program_is_refused_before_a_process_is_forked() -> None:
    """The reason names the port, also when the other program shares its own."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            worker_start.start(Settings(port=port, workers=2), "kv", None)
