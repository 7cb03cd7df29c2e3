"""Assigning ports to processes."""

from __future__ import annotations

from smartmob.processes.ports import Ports


def test_a_node_always_gets_the_same_port() -> None:
    """The port is the base, plus 100 for each type before its own, plus the number of the node."""
    ports = Ports(5000)
    assert ports.assign("app.web.0", "web.0", 0) == 5000
    assert ports.assign("app.web.7", "web.7", 0) == 5007
    assert ports.assign("app.worker.2", "worker.2", 1) == 5102
    assert ports.assign("app.web.7", "web.7", 0) == 5007


def test_a_port_is_assigned_to_one_process() -> None:
    """Another application gets the next port, and a released port is free again."""
    ports = Ports(5000)
    assert ports.assign("a.web.0", "web.0", 0) == 5000
    assert ports.assign("b.web.0", "web.0", 0) == 5001
    ports.release("a.web.0")
    assert ports.assign("c.web.0", "web.0", 0) == 5000


def test_ports_are_valid_for_any_node_name() -> None:
    """A number beyond 65535 leads back to the base."""
    ports = Ports(65530)
    taken = [ports.assign(f"app.{n}", node, 3) for n, node in enumerate(["web.99999", "x", "y.65535", "no number"])]
    assert len(set(taken)) == 4
    assert all(65530 <= port <= 65535 for port in taken)


def test_a_port_of_the_service_is_never_assigned() -> None:
    """By default, the headquarters of load tests has the ports from 5000 on."""
    ports = Ports(5000, {5000, 5001, 5002})
    assert [ports.assign(f"app.web.{n}", f"web.{n}", 0) for n in range(3)] == [5003, 5004, 5005]


def test_a_port_of_another_program_is_passed_over() -> None:
    """The process would not be able to listen on it."""
    ports = Ports(6000, is_taken={6000, 6001}.__contains__)
    assert ports.assign("app.web.0", "web.0", 0) == 6002


def test_taken_ports_everywhere_end_the_search() -> None:
    """After a thousand ports, the next is assigned as it is."""
    assert Ports(6000, is_taken=lambda _: True).assign("app.web.0", "web.0", 0) == 7000
