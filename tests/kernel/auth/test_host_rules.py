"""The rules on Host and Origin."""

from __future__ import annotations

import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from smartmob.errors import NotAllowed
from smartmob.kernel.auth.authenticator import HostRules

RULES = HostRules("127.0.0.1", ["lab.example", "Rack7.Example."])
# Each way to change something: requests of the methods that do, and a WebSocket, which is a GET.
CHANGING = [("POST", False), ("PUT", False), ("PATCH", False), ("DELETE", False), ("GET", True), ("POST", True)]
SAFE = [("GET", False), ("HEAD", False), ("OPTIONS", False)]


def _passes(rules: HostRules, method: str = "GET", upgrade: bool = False, **headers: str | None) -> bool:
    given_headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    try:
        rules.check(method, CIMultiDict(given_headers), upgrade)
    except NotAllowed:
        return False
    return True


def _accepted(**headers: str) -> list[tuple[str, bool]]:
    """Return the kinds of requests that pass with these headers."""
    return [(method, upgrade) for method, upgrade in (*CHANGING, *SAFE) if _passes(RULES, method, upgrade, **headers)]


class TestHost:
    """The header Host."""

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST",
            "LocalHost:8080",
            "localhost.",
            "localhost.:8080",
            "localhost:",
            " localhost ",
            "lab.example",
            "LAB.example:443",
            "lab.example.",
            "rack7.example",
            "rack7.example.:1",
            "Rack7.EXAMPLE.",
        ],
    )
    def test_own_and_added_names_are_accepted(self, host: str) -> None:
        """Own and added names are accepted in any case, with a final dot and with any port."""
        assert _passes(RULES, Host=host)

    @pytest.mark.parametrize(
        "host",
        [
            "localhost:1:evil",
            "localhost:1:2",
            "localhost:evil",
            "localhost:123456",
            "127.0.0.1:1@evil",
            "evil@localhost",
            "localhost@evil",
            "user:localhost",
            "[::1]evil",
            "[::1]:1:2",
            "[::1]@evil",
            "[localhost]",
            "[::1",
            "::1",
            "localhost/",
            "localhost?",
            "localhost#",
            "localhost,evil",
            "local host",
            "localhost\\evil",
        ],
    )
    def test_a_malformed_host_is_refused(self, host: str) -> None:
        """A Host with anything before, after or within name and port is refused."""
        assert not _passes(RULES, Host=host)

    def test_the_name_of_the_machine_is_accepted(self) -> None:
        """The name of the machine is accepted."""
        assert _passes(RULES, Host=socket.gethostname())
        assert _passes(RULES, Host=f"{socket.getfqdn().upper()}:8080")

    def test_the_name_of_the_bound_address_is_accepted(self) -> None:
        """The name on which the service listens is accepted."""
        assert _passes(HostRules("bound.example"), Host="bound.example:8080")
        assert not _passes(HostRules("127.0.0.1"), Host="bound.example:8080")

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.0.2.7:80",
            "0.0.0.0",
            "[::1]",
            "[::1]:8080",
            "[2001:DB8::7]:443",
            "[fe80::1%eth0]:80",
            "[::ffff:127.0.0.1]",
        ],
    )
    def test_ip_addresses_are_accepted(self, host: str) -> None:
        """Any IP address is accepted, because DNS rebinding needs a name."""
        assert _passes(RULES, Host=host)

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "xn--lab.example",
            "example",
            "lab",
            "",
            " ",
            ".",
            ":",
            ":8080",
            "[]",
            "[]:80",
            "[evil.example]",
            "::1",
            "1.2.3",
            "127.1",
            "2130706433",
            "0x7f000001",
            "127.0.0.1/8",
            "lab.example,evil.example",
            "a@localhost",
            "localhost@evil.example",
            "http://localhost",
            "localhost/",
            "локалхост",
            "�",
            "local\x00host",
        ],
    )
    def test_foreign_names_are_refused(self, host: str) -> None:
        """Foreign names, similar names and invalid names are refused."""
        assert not any(_passes(RULES, method, Host=host) for method in ("GET", "POST"))

    def test_a_request_without_host_is_refused(self) -> None:
        """A request without the header Host is refused."""
        assert not _passes(RULES)

    def test_an_empty_name_is_refused(self) -> None:
        """A service that listens on all addresses refuses the empty name."""
        assert not _passes(HostRules("", [""]), Host="")

    def test_the_refusal_names_the_option(self) -> None:
        """The error names the refused name and the option."""
        with pytest.raises(NotAllowed, match=r"'evil\.example'.*--allow-host"):
            RULES.check("GET", {"Host": "evil.example"}, False)

    def test_remembered_names_do_not_change_the_result(self) -> None:
        """Each of many names gets the same result the first time and later."""
        rules = HostRules("127.0.0.1")
        hosts = [f"192.0.2.{n % 256}:{n}" for n in range(600)]

        assert all(_passes(rules, Host=host) for host in hosts * 2)
        assert not _passes(rules, Host="evil.example")

    @settings(deadline=None)
    @given(st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
    @example("[")
    @example("[::1")
    @example("]")
    def test_any_bytes_are_accepted_or_refused(self, host: str) -> None:
        """Any bytes are accepted or refused, each time alike."""
        assert _passes(RULES, Host=host) is _passes(RULES, Host=host)


SAME = [
    ("localhost:8080", "http://localhost:8080"),
    ("LocalHost:8080", "http://localhost:8080"),
    ("localhost.:8080", "http://localhost:8080"),
    ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ("[::1]:8080", "http://[::1]:8080"),
    ("localhost", "http://localhost"),
    ("localhost", "http://localhost:80"),
    ("localhost:80", "http://localhost"),
    # A proxy that speaks TLS passes the name on: the scheme that the browser sees is not ours.
    ("lab.example", "https://lab.example"),
    ("lab.example", "https://lab.example:443"),
    ("lab.example:443", "https://lab.example"),
    ("lab.example:8443", "https://lab.example:8443"),
]
FOREIGN = [
    ("localhost:8080", "http://evil.example"),
    ("localhost:8080", "http://evil.example:8080"),
    ("localhost:8080", "http://localhost:8081"),
    ("localhost:8080", "http://localhost"),
    ("localhost", "http://localhost:8080"),
    ("localhost", "http://localhost:443"),
    ("lab.example", "https://lab.example:80"),
    ("lab.example", "https://lab.example:8443"),
    ("localhost:8080", "http://127.0.0.1:8080"),
    ("127.0.0.1:8080", "http://[::1]:8080"),
    ("lab.example", "https://sub.lab.example"),
    ("lab.example", "https://lab.example.evil.example"),
    ("lab.example", "https://lab.example@evil.example"),
    ("localhost:8080", "null"),
    ("localhost:8080", ""),
    ("localhost:8080", "localhost:8080"),
    ("localhost:8080", "//localhost:8080"),
    ("localhost:8080", "ws://localhost:8080"),
    ("localhost:8080", "file://localhost:8080"),
    ("localhost:8080", "chrome-extension://localhost:8080"),
    ("localhost:8080", "https://"),
    ("localhost:8080", "http://localhost:8080/path"),
    ("localhost:8080", "http://localhost:8080 http://evil.example"),
    ("localhost:8080", "\udcff"),
]


class TestOrigin:
    """The header Origin."""

    @pytest.mark.parametrize(("host", "origin"), SAME)
    def test_own_pages_may_change_things(self, host: str, origin: str) -> None:
        """A page of this service may send changing requests, however its address is written."""
        assert _accepted(Host=host, Origin=origin, Sec_Fetch_Site="same-origin") == [*CHANGING, *SAFE]

    @pytest.mark.parametrize(("host", "origin"), FOREIGN)
    def test_foreign_pages_may_only_read(self, host: str, origin: str) -> None:
        """A page of another site, of another port, or with a hidden origin may only send reading requests."""
        assert _accepted(Host=host, Origin=origin) == SAFE
        assert _accepted(Host=host, Origin=origin, Sec_Fetch_Site="cross-site") == SAFE

    def test_programs_without_origin_are_accepted(self) -> None:
        """A program that sends neither header is accepted."""
        assert _accepted(Host="localhost:8080") == [*CHANGING, *SAFE]

    @pytest.mark.parametrize(
        ("site", "passing"),
        [("same-origin", CHANGING), ("none", CHANGING), ("same-site", []), ("cross-site", [])],
    )
    def test_sec_fetch_site_counts_without_an_origin(self, site: str, passing: list[tuple[str, bool]]) -> None:
        """Without Origin, Sec-Fetch-Site decides."""
        assert _accepted(Host="localhost:8080", Sec_Fetch_Site=site) == [*passing, *SAFE]

    def test_a_foreign_host_with_the_same_origin_is_refused(self) -> None:
        """A foreign host with an Origin of the same name, as in DNS rebinding, is refused."""
        assert not _passes(RULES, "POST", Host="evil.example", Origin="http://evil.example")

    def test_the_refusal_names_the_site(self) -> None:
        """The error names the origin, if it is known."""
        with pytest.raises(NotAllowed, match=r"'http://evil\.example'"):
            RULES.check("POST", {"Host": "localhost", "Origin": "http://evil.example"}, False)
        with pytest.raises(NotAllowed, match="another site"):
            RULES.check("POST", {"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, False)

    @settings(deadline=None)
    @given(st.binary(max_size=40).map(lambda raw: "http://" + raw.decode("utf-8", "surrogateescape")))
    def test_any_other_bytes_are_refused(self, origin: str) -> None:
        """Any bytes are refused unless they are the own address."""
        assert not _passes(RULES, "POST", Host="lab.example:8080", Origin=origin)
