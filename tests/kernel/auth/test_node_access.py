"""The authorization of requests that a service passes on to a node."""

from __future__ import annotations

import pytest

from smartmob.errors import NotAuthenticated
from smartmob.kernel.auth.model import CONTROL, READ, Principal
from smartmob.kernel.auth.node_access import NodeAccess, authorization, make_secret


def test_the_role_of_the_client_is_passed_on() -> None:
    """The node grants what the service has checked."""
    access, secret = NodeAccess(), make_secret()
    access.set_secret(secret)
    for role in (READ, CONTROL):
        assert access.principal(authorization(secret, Principal("ci", role))) == Principal(None, role)


@pytest.mark.parametrize(
    "header", ["Node ", "Node  control", "Node wrong control", "Node \udc80 control", "Node None control"]
)
def test_without_the_secret_of_the_link_nothing_is_granted(header: str) -> None:
    """A wrong or missing secret is refused, before and after a link."""
    access = NodeAccess()
    for secret in (None, make_secret(), None):
        access.set_secret(secret)
        with pytest.raises(NotAuthenticated):
            access.principal(header)


def test_a_secret_ends_with_its_link() -> None:
    """The header of an earlier link is refused: it cannot be replayed."""
    access, old = NodeAccess(), make_secret()
    access.set_secret(old)
    header = authorization(old, Principal(None, CONTROL))
    assert access.principal(header).role == CONTROL
    access.set_secret(make_secret())
    with pytest.raises(NotAuthenticated):
        access.principal(header)


@pytest.mark.parametrize("role", ["", "owner", "CONTROL", "control read", "control\n"])
def test_an_unknown_role_is_refused(role: str) -> None:
    """Nothing is guessed."""
    access, secret = NodeAccess(), make_secret()
    access.set_secret(secret)
    with pytest.raises(NotAuthenticated):
        access.principal(f"Node {secret} {role}")
