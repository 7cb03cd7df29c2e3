"""The addresses to which the service sends no requests of its own."""

from __future__ import annotations

import socket

import pytest

from smartmob.kernel.http.address_filter import ForbiddenAddress, create_socket, is_forbidden


@pytest.mark.parametrize(
    ("host", "forbidden"),
    [
        *((host, False) for host in ("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0")),
        *((host, False) for host in ("::1", "fd12:3456::1", "2001:db8::1", "64:ff9b::c000:201", "::ffff:10.0.0.1")),
        *((host, False) for host in ("8.8.8.8", "192.0.2.1", "2002:c000:201::1", "64:ff9b:1:c000:2:100::")),
        *((host, True) for host in ("169.254.0.1", "169.254.169.254", "fe80::1%eth0", "febf::1", "168.63.129.16")),
        *((host, True) for host in ("192.0.0.192", "100.100.100.200", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")),
        *((host, True) for host in ("fd00:c1::a9fe:a9fe", "fd00:42::42", "::ffff:169.254.0.1", "::ffff:168.63.129.16")),
        *((host, True) for host in ("64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:1", "64:ff9b::a83f:8110", "::a9fe:a9fe")),
        *((host, True) for host in ("64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:1:2::a9fe:a9fe", "2001:db8:64::a9fe:a9fe")),
        *((host, True) for host in ("2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "2001::5601:5601")),
        *((host, True) for host in ("fec0::1", "fd12::5efe:a9fe:a9fe")),
    ],
)
def test_private_addresses_are_allowed_and_metadata_services_are_not(host: str, forbidden: bool) -> None:
    """Sources of a lab, and its chat, are usually at private addresses."""
    assert is_forbidden(host) == forbidden


def test_no_socket_is_made_for_a_forbidden_address() -> None:
    """The address to which a name was resolved is checked right before the connection."""
    with pytest.raises(ForbiddenAddress, match="link-local addresses"):
        create_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("169.254.169.254", 80)))
    with create_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))) as made:
        assert made.family == socket.AF_INET
