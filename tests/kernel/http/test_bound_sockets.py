"""The sockets on which the service will listen."""

from __future__ import annotations

import pytest

from smartmob.errors import StartupError
from smartmob.kernel.http import bound_sockets


def test_a_taken_port_is_named_with_a_way_out() -> None:
    """The second of two sockets is refused while the first listens."""
    with bound_sockets.bind("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1 port {port}: .*--port 0"):
            bound_sockets.bind("127.0.0.1", port)


def test_a_name_that_is_no_host_is_refused() -> None:
    """The error says which."""
    with pytest.raises(StartupError, match=r"cannot listen on no\.such\.host\.invalid"):
        bound_sockets.bind("no.such.host.invalid", 0)


def test_sockets_of_workers_have_one_port() -> None:
    """The system divides the connections among them."""
    sockets = bound_sockets.bind_together("127.0.0.1", 0, 3)
    try:
        assert len({sock.getsockname() for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


def test_a_port_is_taken_before_its_sockets_listen() -> None:
    """Two services would share the connections of one port, each with a database of its own."""
    first = bound_sockets.bind_together("127.0.0.1", 0, 2)
    port = first[0].getsockname()[1]
    with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1 port {port}: .*--port 0"):
        bound_sockets.bind_together("127.0.0.1", port, 2)
    for sock in first:
        sock.close()
    for sock in bound_sockets.bind_together("127.0.0.1", port, 2):
        sock.close()
