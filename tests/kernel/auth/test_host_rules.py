"""The rules on Host and Origin: for which requests the service is meant."""

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


def _let_in(**headers: str) -> list[tuple[str, bool]]:
    """Return the kinds of requests that pass with these headers."""
    return [(method, upgrade) for method, upgrade in (*CHANGING, *SAFE) if _passes(RULES, method, upgrade, **headers)]


class TestHost:
    """The name under which the client addresses the service."""

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
    def test_names_of_the_service(self, host: str) -> None:
        """Its own names and those that were added, in any case, with a dot at the end and with any port."""
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
    def test_what_is_no_address(self, host: str) -> None:
        """A Host is a name or an address and at most a port; anything before, behind or within is refused."""
        assert not _passes(RULES, Host=host)

    def test_the_name_of_the_machine(self) -> None:
        """The machine's own name is one of them."""
        assert _passes(RULES, Host=socket.gethostname())
        assert _passes(RULES, Host=f"{socket.getfqdn().upper()}:8080")

    def test_the_name_that_it_listens_on(self) -> None:
        """Who listens on a name answers to it."""
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
    def test_addresses(self, host: str) -> None:
        """An address cannot be made to point elsewhere, so any is right."""
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
    def test_everything_else(self, host: str) -> None:
        """A foreign name, a name that only looks like ours, and what is no name are refused."""
        assert not any(_passes(RULES, method, Host=host) for method in ("GET", "POST"))

    def test_no_host(self) -> None:
        """A request that names nobody is refused."""
        assert not _passes(RULES)

    def test_an_empty_name_is_none(self) -> None:
        """A service that listens everywhere does not answer to the empty name."""
        assert not _passes(HostRules("", [""]), Host="")

    def test_the_refusal_says_how_to_go_on(self) -> None:
        """It tells the name and the option."""
        with pytest.raises(NotAllowed, match=r"'evil\.example'.*--allow-host"):
            RULES.check("GET", {"Host": "evil.example"}, False)

    def test_many_names(self) -> None:
        """However many addresses clients use, each is decided alike the first time and later."""
        rules = HostRules("127.0.0.1")
        hosts = [f"192.0.2.{n % 256}:{n}" for n in range(600)]

        assert all(_passes(rules, Host=host) for host in hosts * 2)
        assert not _passes(rules, Host="evil.example")

    @settings(deadline=None)
    @given(st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
    @example("[")
    @example("[::1")
    @example("]")
    def test_garbage(self, host: str) -> None:
        """Any bytes are decided on: passed or refused, alike each time."""
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
    """The page from which a request comes."""

    @pytest.mark.parametrize(("host", "origin"), SAME)
    def test_our_own_pages(self, host: str, origin: str) -> None:
        """A page of this service may change things, whatever ways there are to write its address."""
        assert _let_in(Host=host, Origin=origin, Sec_Fetch_Site="same-origin") == [*CHANGING, *SAFE]

    @pytest.mark.parametrize(("host", "origin"), FOREIGN)
    def test_pages_of_others(self, host: str, origin: str) -> None:
        """A page of another site, of another port, and one that hides its site may only read.

        Without CORS it does not see the answer.
        """
        assert _let_in(Host=host, Origin=origin) == SAFE
        assert _let_in(Host=host, Origin=origin, Sec_Fetch_Site="cross-site") == SAFE

    def test_programs(self) -> None:
        """A client that is no browser sends neither header."""
        assert _let_in(Host="localhost:8080") == [*CHANGING, *SAFE]

    @pytest.mark.parametrize(
        ("site", "passing"),
        [("same-origin", CHANGING), ("none", CHANGING), ("same-site", []), ("cross-site", [])],
    )
    def test_browsers_that_send_no_origin(self, site: str, passing: list[tuple[str, bool]]) -> None:
        """Then Sec-Fetch-Site tells what the Origin would."""
        assert _let_in(Host="localhost:8080", Sec_Fetch_Site=site) == [*passing, *SAFE]

    def test_the_host_is_asked_first(self) -> None:
        """A foreign name with a page of the same foreign name is what DNS rebinding looks like."""
        assert not _passes(RULES, "POST", Host="evil.example", Origin="http://evil.example")

    def test_the_refusal_names_the_site(self) -> None:
        """It tells whose page it was, as far as that is known."""
        with pytest.raises(NotAllowed, match=r"'http://evil\.example'"):
            RULES.check("POST", {"Host": "localhost", "Origin": "http://evil.example"}, False)
        with pytest.raises(NotAllowed, match="another site"):
            RULES.check("POST", {"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, False)

    @settings(deadline=None)
    @given(st.binary(max_size=40).map(lambda raw: "http://" + raw.decode("utf-8", "surrogateescape")))
    def test_garbage(self, origin: str) -> None:
        """Any bytes are refused unless they are our own address."""
        assert not _passes(RULES, "POST", Host="lab.example:8080", Origin=origin)
