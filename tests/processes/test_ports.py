"""The ports that processes get."""

from __future__ import annotations

from smartmob.processes.ports import Ports


def test_a_node_always_gets_the_same_port() -> None:
    """Base, 100 for each type before its own, and its number."""
    ports = Ports(5000)
    assert ports.assign("app.web.0", "web.0", 0) == 5000
    assert ports.assign("app.web.7", "web.7", 0) == 5007
    assert ports.assign("app.worker.2", "worker.2", 1) == 5102
    assert ports.assign("app.web.7", "web.7", 0) == 5007


def test_a_port_is_given_once() -> None:
    """Another application gets the next one, and one that is given back is free."""
    ports = Ports(5000)
    assert ports.assign("a.web.0", "web.0", 0) == 5000
    assert ports.assign("b.web.0", "web.0", 0) == 5001
    ports.release("a.web.0")
    assert ports.assign("c.web.0", "web.0", 0) == 5000


def test_numbers_stay_within_what_a_port_can_be() -> None:
    """Whatever a node is called."""
    ports = Ports(65530)
    taken = [ports.assign(f"app.{n}", node, 3) for n, node in enumerate(["web.99999", "x", "y.65535", "no number"])]
    assert len(set(taken)) == 4
    assert all(65530 <= port <= 65535 for port in taken)


def test_a_port_of_the_service_is_never_given() -> None:
    """The headquarters of load tests has the ports from 5000 on by default."""
    ports = Ports(5000, {5000, 5001, 5002})
    assert [ports.assign(f"app.web.{n}", f"web.{n}", 0) for n in range(3)] == [5003, 5004, 5005]
