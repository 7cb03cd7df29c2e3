"""A service behind a trusted proxy: limits, viewers and cookies see the client, and spoofed headers change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import structlog

from smartmob.app import build
from smartmob.settings import Settings
from tests.conftest import running

TOKEN = "s3cret"
TRIES = 3
ALICE, BOB = "198.51.100.1", "198.51.100.2"


@pytest.fixture(name="behind")
async def _behind(settings: Settings) -> AsyncIterator[Any]:
    """Return a client of a service that trusts 127.0.0.1 as its proxy and allows one viewer for each address."""
    trusting = replace(
        settings,
        token=TOKEN,
        auth_tries=TRIES,
        trusted_proxy=("127.0.0.1",),
        allow_host=("lab.example",),
        viewers_by_address=1,
    )
    async with running(build(trusting)) as client:
        yield client


async def _guess(client: Any, forwarded: str, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": forwarded}
    async with client.get("/jobs", headers=headers) as response:
        return int(response.status)


async def test_wrong_secrets_count_for_the_client_and_not_for_the_proxy(behind: Any) -> None:
    """Attempts of one client leave those of others behind the same proxy, and the log names the client."""
    with structlog.testing.capture_logs() as lines:
        for number in range(TRIES):
            # The client sends addresses of its own, to which the proxy appends the real one.
            assert await _guess(behind, f"203.0.113.{number}, {ALICE}", f"guess-{number}") == 401
        assert await _guess(behind, f"203.0.113.77, {ALICE}", "another") == 429
        assert await _guess(behind, f"203.0.113.77, {BOB}", "another") == 401
    clients = [line["client"] for line in lines if line["event"] == "auth.refused"]
    assert clients == [ALICE] * TRIES + [BOB]


async def test_viewers_count_for_the_client_and_not_for_the_proxy(behind: Any) -> None:
    """One client may watch from its own address while another one watches through the same proxy."""

    def headers(address: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": address}

    async with behind.ws_connect("/console/live", headers=headers(ALICE)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await behind.ws_connect("/console/live", headers=headers(f"{BOB}, {ALICE}"))
        assert refused.value.status == 503
        async with behind.ws_connect("/console/live", headers=headers(BOB)):
            pass


async def test_a_connection_that_is_not_from_the_proxy_is_not_believed(behind: Any) -> None:
    """A client that reaches the service directly has the address of its connection, whatever it sends."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    url = behind.make_url("/jobs")
    async with aiohttp.ClientSession(connector=connector) as direct:
        for number in range(TRIES + 1):
            headers = {"Authorization": f"Bearer guess-{number}", "X-Forwarded-For": f"203.0.113.{number}"}
            async with direct.get(url, headers=headers) as response:
                assert response.status == (401 if number < TRIES else 429)
        headers = {"X-Forwarded-Proto": "https"}
        async with direct.get(behind.make_url("/health"), headers=headers) as response:
            assert "Strict-Transport-Security" not in response.headers


async def test_a_proxy_that_terminates_tls_makes_the_cookie_secure(behind: Any) -> None:
    """With `X-Forwarded-Proto: https` the session cookie is Secure, its pages are those of https, and HSTS is sent."""
    headers = {"X-Forwarded-For": ALICE, "X-Forwarded-Proto": "https", "Host": "lab.example"}
    login = {**headers, "Origin": "https://lab.example"}
    async with behind.post("/login", data={"token": TOKEN}, headers=login, allow_redirects=False) as response:
        assert response.status == 303
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
        assert "Strict-Transport-Security" in response.headers
    own = {**headers, "Cookie": cookie.partition(";")[0]}
    for origin, status in (("https://lab.example", 201), ("http://lab.example", 403), ("https://evil.example", 403)):
        async with behind.post("/marks", json={"text": "x"}, headers={**own, "Origin": origin}) as response:
            assert response.status == status


async def test_the_forwarded_host_replaces_no_check_of_the_host(behind: Any) -> None:
    """Both names must be ours: a rebound name cannot be hidden by a header, and Origin fits the forwarded one."""
    sign = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": ALICE}
    for host, forwarded, origin, status in (
        ("lab.example", "", "https://lab.example", 201),
        ("127.0.0.1:8080", "lab.example", "https://lab.example", 201),  # a proxy that replaces the Host
        ("127.0.0.1:8080", "lab.example", "http://127.0.0.1:8080", 403),
        ("evil.example", "lab.example", "https://lab.example", 403),
        ("127.0.0.1:8080", "evil.example", "https://evil.example", 403),
    ):
        headers = {**sign, "Host": host, "Origin": origin, "X-Forwarded-Host": forwarded}
        async with behind.post("/marks", json={"text": "x"}, headers=headers) as response:
            assert response.status == status, (host, forwarded, origin)
