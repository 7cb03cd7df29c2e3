"""The ports that processes get."""

from __future__ import annotations

from smartmob.processes.ports import Ports


def test_a_node_always_gets_the_same_port() -> None:
    """Base, 100 for each type before its own, and its number."""
    ports = Ports(5000)
    assert ports.take("app.web.0", "web.0", 0) == 5000
    assert ports.take("app.web.7", "web.7", 0) == 5007
    assert ports.take("app.worker.2", "worker.2", 1) == 5102
    assert ports.take("app.web.7", "web.7", 0) == 5007


def test_a_port_is_given_once() -> None:
    """Another application gets the next one, and one that is given back is free."""
    ports = Ports(5000)
    assert ports.take("a.web.0", "web.0", 0) == 5000
    assert ports.take("b.web.0", "web.0", 0) == 5001
    ports.give_back("a.web.0")
    assert ports.take("c.web.0", "web.0", 0) == 5000


def test_numbers_stay_within_what_a_port_can_be() -> None:
    """Whatever a node is called."""
    ports = Ports(65530)
    taken = [ports.take(f"app.{n}", node, 3) for n, node in enumerate(["web.99999", "x", "y.65535", "no number"])]
    assert len(set(taken)) == 4
    assert all(65530 <= port <= 65535 for port in taken)
