"""The sentences about servers that refuse a client."""

from __future__ import annotations

from smartmob import __version__
from smartmob.client import refusals


def test_no_token_and_a_wrong_one_differ() -> None:
    """Without a token the sentence names the option, with one it says that the token is wrong."""
    assert "give --token-file" in refusals.not_authenticated(None)
    assert refusals.not_authenticated("x").startswith("wrong token")


def test_the_scheme_to_give() -> None:
    """The address with the other scheme is given in whole."""
    assert refusals.speaks("http://lab:8443", tls=True).endswith("give --server https://lab:8443")
    assert refusals.speaks("https://lab:8080", tls=False).endswith("give --server http://lab:8080")


def test_requests_for_programs_are_left_out() -> None:
    """A sentence of a problem is shown to people without the requests that it suggests to programs."""
    for detail, shown in (
        ("there is no rule x; GET /api/v1/alerts/rules lists them", "there is no rule x"),
        ("there is no command x; GET /commands lists the commands", "there is no command x"),
        ("Wait for its end, or stop it: POST /turret-runs/7/stop", "Wait for its end, or stop it"),
        ("there is no POST office", "there is no POST office"),
    ):
        assert refusals.for_people(detail) == shown


def test_versions_that_differ_are_named() -> None:
    """Both versions are named where they differ; a server that tells none is not compared."""
    assert refusals.other_version("0.9.0") == f"server 0.9.0, client {__version__}"
    assert refusals.other_version(__version__) == refusals.other_version("") == ""


def test_a_server_of_another_kind_is_named() -> None:
    """The sentence names the address and why it is no service."""
    assert "http://lab is not a smartmob service: it answers 404" in str(
        refusals.NotSmartmob("http://lab", "it answers 404")
    )
