"""The proxy for a service, from the variables of the environment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from smartmob.client.backlog import Backlog
from smartmob.client.node_key import Membership
from smartmob.client.node_link import LocalServer, NodeLink
from smartmob.client.proxies import proxy_of
from smartmob.client.reporter import Clocks, HostCredentials, Reporter
from smartmob.errors import SettingsError
from smartmob.kernel.auth.node_access import make_secret
from smartmob.kernel.runtime import clock
from tests.waiting import until

LAB = "https://lab.example.com:8080"


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        (LAB, {}, None),
        (LAB, {"https_proxy": ""}, None),
        (LAB, {"https_proxy": "http://me:secret@proxy:3128"}, "http://me:secret@proxy:3128"),
        (LAB, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (LAB, {"HTTPS_PROXY": "http://b:1", "https_proxy": "http://a:1", "all_proxy": "http://c:1"}, "http://a:1"),
        (LAB, {"ALL_PROXY": "http://c:1"}, "http://c:1"),
        (LAB, {"http_proxy": "http://a:1"}, None),
        ("http://lab.example.com", {"https_proxy": "http://a:1", "http_proxy": "http://a:1"}, None),
        ("https://127.0.0.1:8080", {"https_proxy": "http://a:1"}, None),
        ("https://[::1]:8080", {"https_proxy": "http://a:1"}, None),
        ("https://localhost", {"https_proxy": "http://a:1"}, None),
        (LAB, {"https_proxy": "http://a:1", "no_proxy": "x.org, .example.com"}, None),
        (LAB, {"https_proxy": "http://a:1", "NO_PROXY": "LAB.example.com"}, None),
        (LAB, {"https_proxy": "http://a:1", "no_proxy": "*"}, None),
        (LAB, {"https_proxy": "http://a:1", "no_proxy": "ample.com,b.example.com"}, "http://a:1"),
        ("https://10.1.2.3", {"https_proxy": "http://a:1", "no_proxy": "10.0.0.0/8"}, None),
        ("https://11.1.2.3", {"https_proxy": "http://a:1", "no_proxy": "10.0.0.0/8"}, "http://a:1"),
    ],
)
def test_the_proxy_of_an_address(url: str, variables: dict[str, str], proxy: str | None) -> None:
    """The variables are read as curl reads them; this machine and http:// need no tunnel."""
    assert proxy_of(url, variables) == proxy


def test_a_proxy_that_cannot_be_used_is_told() -> None:
    """The line names the variable and a way out, but no password."""
    with pytest.raises(SettingsError, match="all_proxy names a proxy for socks5") as raised:
        proxy_of(LAB, {"all_proxy": "socks5://me:secret@proxy:1080"})
    assert "secret" not in str(raised.value)


async def test_nodes_and_reports_ask_the_proxy_for_a_tunnel(tmp_path: Path) -> None:
    """The request to the service itself goes through it, so the proxy sees a host and a port only."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        clocks = Clocks(clock.epoch, clock.steady)
        account = HostCredentials("https://reports.example.com", "rack7", "secret", proxy=proxy)
        said: list[str] = []
        local = LocalServer(lambda _, work: asyncio.ensure_future(work), _accept, lambda _: None, make_secret)
        member = Membership("https://nodes.example.com", "rack7", tmp_path / "node.json", token="any", proxy=proxy)
        running = [
            asyncio.ensure_future(Reporter(account, Backlog(tmp_path, 1000), clocks, 0.1, said.append).run()),
            asyncio.ensure_future(NodeLink(member, local, clock.epoch, said.append).run()),
        ]
        await until(
            lambda: {line.split()[1] for line in asked} == {b"reports.example.com:443", b"nodes.example.com:443"}
        )
        await until(lambda: "Proxy Authentication Required" in " ".join(said))
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert {line.split()[0] for line in asked} == {b"CONNECT"}


async def _accept(_: object) -> None:
    raise AssertionError("no stream is asked for")
