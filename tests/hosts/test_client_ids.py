"""The names of machines, and the ids with which they authenticate."""

from __future__ import annotations

import pytest

from smartmob.hosts import client_ids
from tests.hosts.samples import CLIENT_ID

CONTAINERS = ("3f2a9c0d1e2f", "000000000000", "9" * 64, "01-web", "7d9f8c5b6-x2x4z", "10.0.0.7", "1.lab.example.com")
"""Host names that begin with a digit: of Docker containers, of pods, and of machines."""


class TestNames:
    """Names of machines."""

    @pytest.mark.parametrize(
        "name",
        [
            "wood",
            "W",
            "rack7.lab",
            "a/b",
            "a b",
            "ünïcode",
            "机器",
            "a?b#c%2F",
            "x" * 128,
            "MacBook-Pro.local",
            "Jo's Mac mini",
            "WIN-7F3K2",
            "my_host.lab.example.com.",
            "RACK7",
            *CONTAINERS,
        ],
    )
    def test_names_of_any_script_are_valid(self, name: str) -> None:
        """Letters of any script begin a name; dots, slashes and blanks may follow. Its client id contains it."""
        assert client_ids.is_name(name)
        assert client_ids.parse_client_id(client_ids.client_id(name, "p:w")) == (name, "p:w")

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "1a",
            " a",
            "_a",
            ".a",
            "/a",
            "a:b",
            "a\0",
            "a\n",
            "x" * 129,
            "\u202ea",
            "123",
            "1wood",
            "12345678901",
            "0123456789abg",
            "fe80::1",
            "-a",
            "1-",
            "1..2",
            "10.0.0.7:80",
        ],
    )
    def test_names_with_a_colon_or_unprintable_characters_are_refused(self, name: str) -> None:
        """Names that begin otherwise, have a colon or are not printable are refused, in a client id as well."""
        assert not client_ids.is_name(name)
        parsed = client_ids.parse_client_id(client_ids.client_id(name, "p"))
        assert parsed is None or parsed[0] != name


class TestClientIds:
    """The base64 of name and password."""

    def test_the_client_id_of_the_seed(self) -> None:
        """It is the one of seed 001."""
        assert client_ids.client_id("wood", "123") == CLIENT_ID
        assert client_ids.parse_client_id(CLIENT_ID) == ("wood", "123")

    @pytest.mark.parametrize("given", ["", "x", "d29vZDoxMjM", "d29vZA==", "/w==", "d29v ZDoxMjM=", "A" * 100_000, "é"])
    def test_an_invalid_client_id_is_none(self, given: str) -> None:
        """Text that is not the base64 of name, colon and password is refused."""
        assert client_ids.parse_client_id(given) is None

    @pytest.mark.parametrize(
        ("header", "found"),
        [
            (CLIENT_ID, CLIENT_ID),
            (f"Basic {CLIENT_ID}", CLIENT_ID),
            (f"basic   {CLIENT_ID} ", CLIENT_ID),
            (None, ""),
            ("", ""),
            ("Bearer abc", "Bearer"),
        ],
    )
    def test_a_client_id_in_an_authorization_header(self, header: str | None, found: str) -> None:
        """The id may stand alone or be HTTP Basic."""
        assert client_ids.authorization_id(header) == found
