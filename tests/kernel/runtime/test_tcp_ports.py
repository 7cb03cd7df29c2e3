"""TCP ports in use."""

from __future__ import annotations

import socket

import pytest

from smartmob.kernel.runtime.tcp_ports import is_listened_on


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")]
)
def test_a_listener_is_seen(family: int, address: str) -> None:
    """It may listen on one address only, and a closed one is not seen."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((address, 0))
        port = listener.getsockname()[1]
        listener.listen()
        assert is_listened_on(port)
    assert not is_listened_on(port)
