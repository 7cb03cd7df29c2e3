"""Guessing tokens, passwords and client ids: limited by address on every route, before any work."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from smartmob.app import build
from smartmob.settings import Settings
from tests.conftest import running
from tests.each import each
from tests.hosts.samples import client_id, register, sample, talking

TOKEN = "s3cret"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
TRIES = 3
GOOD = client_id("good")


class _Guarded:
    """A service with a token and three attempts a minute; the test moves its clock."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.now = 1_000.0

    async def forget(self) -> None:
        """Let the attempts so far be forgotten, as after an hour."""
        self.now += 3_600.0
        await self.hashes()  # so the token is known to be good at this address

    async def hashes(self) -> int:
        """Return the number of hashed passwords."""
        text = await (await self.client.get("/metrics", headers=AUTH)).text()
        return int(float(text.split("\nsmartmob_hosts_hashes ")[1].split("\n")[0]))

    async def counts(self) -> tuple[int, int]:
        """Return how many attempts were refused and how many were above the limit."""
        text = await (await self.client.get("/metrics", headers=AUTH)).text()
        refused, limited = (
            int(float(text.split(f"\nsmartmob_auth_{name}_total ")[1].split("\n")[0]))
            for name in ("refused", "limited")
        )
        return refused, limited


@pytest.fixture(name="guarded")
async def _guarded(settings: Settings) -> AsyncIterator[_Guarded]:
    """Return a service with a token, three attempts a minute, and the machine `good`."""
    service = build(replace(settings, token=TOKEN, auth_tries=TRIES))
    async with running(service) as client:
        guarded = _Guarded(client)
        service.gate.tokens.tries.seconds = lambda: guarded.now
        await register(client, "good", headers=AUTH)
        await guarded.hashes()  # so the token is known to be good at this address
        yield guarded


Answer = tuple[int, str | None]


async def _answer(request: Any) -> Answer:
    async with request as response:
        return response.status, response.headers.get("Retry-After")


async def _handshake(client: Any, path: str, headers: dict[str, str]) -> Answer:
    try:
        async with client.ws_connect(path, headers=headers):
            return 101, None
    except aiohttp.WSServerHandshakeError as error:
        return error.status, None if error.headers is None else error.headers.get("Retry-After")


def _basic(secret: str) -> str:
    return "Basic " + base64.b64encode(f"ci:{secret}".encode()).decode()


Door = Callable[[Any, str], Awaitable[Answer]]

DOORS: dict[str, tuple[int, Door]] = {
    "registration": (
        401,
        lambda c, s: _answer(c.post("/client", json={"username": "good", "password": s})),
    ),
    "registration of nobody": (
        401,
        lambda c, s: _answer(c.post("/client/", json={"username": "nobody", "pass": s})),
    ),
    "registration by a token": (
        401,
        lambda c, s: _answer(
            c.post("/client", json={"username": "new", "pass": "x"}, headers={"Authorization": f"Bearer {s}"})
        ),
    ),
    "sample": (
        401,
        lambda c, s: _answer(
            c.post("/client/good", json=sample(), headers={"Authorization": client_id("good", s)}),
        ),
    ),
    "sample by Basic": (
        401,
        lambda c, s: _answer(
            c.post("/client/good", json=sample(), headers={"Authorization": f"Basic {client_id('nobody', s)}"})
        ),
    ),
    "sample by a token": (
        401,
        lambda c, s: _answer(c.post("/client/good", json=sample(), headers={"Authorization": f"Bearer {s}"})),
    ),
    "time": (
        401,
        lambda c, s: _answer(c.get("/client/good/time", headers={"Authorization": client_id("good", s)})),
    ),
    "report": (
        401,
        lambda c, s: _answer(c.post("/client/good/time/report", headers={"Authorization": client_id("good", s)})),
    ),
    "login": (403, lambda c, s: _answer(c.post("/login", data={"token": s}, allow_redirects=False))),
    "bearer": (401, lambda c, s: _answer(c.get("/jobs", headers={"Authorization": f"Bearer {s}"}))),
    "basic": (401, lambda c, s: _answer(c.post("/metrics/", json={}, headers={"Authorization": _basic(s)}))),
    "no route": (401, lambda c, s: _answer(c.get("/nowhere", headers={"Authorization": f"Bearer {s}"}))),
    "cookie": (401, lambda c, s: _answer(c.get("/jobs", headers={"Cookie": f"smartmob_session={s}"}))),
    "commands": (401, lambda c, s: _handshake(c, "/commands", {"Authorization": f"Bearer {s}"})),
    "console": (401, lambda c, s: _handshake(c, "/attach-console/a.b", {"Authorization": f"Bearer {s}"})),
    "echo": (101, lambda c, s: _handshake(c, "/echo", {"Authorization": f"Bearer {s}"})),
}


@each("name", DOORS)
async def test_every_route_with_credentials_has_the_limit(guarded: _Guarded, name: str) -> None:
    """After the allowed wrong secrets the next gets 429 with Retry-After, and no password is hashed."""
    (refused, show), own = DOORS[name], name.replace(" ", "-")
    await guarded.forget()
    before = await guarded.counts()
    with structlog.testing.capture_logs() as lines:
        for number in range(TRIES):
            assert await show(guarded.client, f"{own}-guess-{number}") == (refused, None)
    logged = [line for line in lines if line["event"] == "auth.refused"]
    assert [line["client"] for line in logged] == ["127.0.0.1"] * TRIES
    assert "guess-" not in str(lines)
    hashed = await guarded.hashes()
    for number in range(5):
        assert await show(guarded.client, f"{own}-another-{number}") == (429, "20")
    assert await guarded.hashes() == hashed
    assert await guarded.counts() == (before[0] + TRIES, before[1] + 5)
    guarded.now += 20
    assert await show(guarded.client, f"{own}-in-time") == (refused, None)


@each("name", DOORS)
async def test_a_repeated_wrong_secret_locks_out_no_other_client(guarded: _Guarded, name: str) -> None:
    """A repeated wrong secret is refused each time, and other clients of the address continue."""
    (refused, show), own = DOORS[name], name.replace(" ", "-")
    await guarded.forget()
    before = await guarded.counts()
    for _ in range(TRIES + 5):
        assert await show(guarded.client, f"{own}-misconfigured") == (refused, None)
    assert (await guarded.counts())[0] == before[0] + 1
    headers = {"Authorization": GOOD}
    assert (await guarded.client.post("/client/good", json=sample(), headers=headers)).status == 202


async def test_all_routes_share_one_limit(guarded: _Guarded) -> None:
    """Attempts on one route count on the others."""
    for name in ("login", "sample", "bearer"):
        await DOORS[name][1](guarded.client, "guess")
    assert await DOORS["registration"][1](guarded.client, "guess") == (429, "20")


async def test_each_route_refuses_in_its_format(guarded: _Guarded) -> None:
    """The answer has the seed's format for its clients, is a page at the login, and a problem elsewhere."""
    client = guarded.client
    for number in range(TRIES):
        await DOORS["login"][1](client, f"guess-{number}")
    async with client.post("/client", json={"username": "good", "password": "y"}) as response:
        assert list(await response.json()) == ["error"]
    async with client.get("/jobs", headers={"Authorization": "Bearer y"}) as response:
        assert (await response.json())["type"] == "urn:smartmob:problem:too-many-tries"
    async with client.post("/login", data={"token": TOKEN}, allow_redirects=False) as response:
        assert response.content_type == "text/html"
        assert "Too many wrong tokens" in await response.text()
        assert "Set-Cookie" not in response.headers


async def test_accepted_clients_continue_while_others_are_limited(guarded: _Guarded) -> None:
    """Accepted tokens, cookies and machines of an address continue while others there are limited."""
    client = guarded.client
    await client.post("/client/good", json=sample(), headers={"Authorization": GOOD})
    async with client.post("/login", data={"token": TOKEN}, allow_redirects=False) as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    client.session.cookie_jar.clear()
    assert (await client.get("/jobs", headers={"Cookie": cookie})).status == 200
    async with talking(client) as talk:
        assert (await talk.send(sample(), GOOD))["type"] == "DATA_RETURN"
        for number in range(TRIES):
            await DOORS["bearer"][1](client, f"guess-{number}")
        assert (await DOORS["bearer"][1](client, "guess"))[0] == 429
        assert (await talk.send(sample(), GOOD))["type"] == "DATA_RETURN"
    assert (await client.get("/jobs", headers={"Cookie": cookie})).status == 200
    assert (await client.get("/jobs", headers=AUTH)).status == 200
    assert (await client.post("/client/good", json=sample(), headers={"Authorization": GOOD})).status == 202
    async with talking(client) as talk:
        assert (await talk.send(sample(), GOOD))["type"] == "DATA_RETURN"
    assert (await client.get("/health")).status == 200
    # Who shows nothing is asked for a token as before.
    assert (await client.get("/jobs")).status == 401


@each("kind", ["CLIENT_DATA", "SUBSCRIBE", "BACKFILL", "CLOCK_OFFSET"])
async def test_messages_on_echo_are_limited(guarded: _Guarded, kind: str) -> None:
    """A message with a wrong client id gets the protocol's error without hashing, and the connection stays open."""
    rest: dict[str, Any] = {
        "CLIENT_DATA": {"data": sample()},
        "SUBSCRIBE": {"request_id": "1", "data": ["CPU"], "interval": 1},
        "BACKFILL": {"samples": [sample()]},
        "CLOCK_OFFSET": {"offset": 0.1, "delay": 0.1},
    }[kind]
    await guarded.forget()
    async with talking(guarded.client) as talk:
        for number in range(TRIES):
            said = await talk.ask({"type": kind, **rest, "client_id": client_id("good", f"{kind}-guess-{number}")})
            assert said == {"type": "ERROR", "reason": "incorrect username or password"}
        hashed = await guarded.hashes()
        for number in range(5):
            said = await talk.ask({"type": kind, **rest, "client_id": client_id("good", f"{kind}-another-{number}")})
            assert (said["type"], said["problem"]) == ("ERROR", "too-many-tries")
            assert "20 s" in said["reason"]
        assert await guarded.hashes() == hashed
        guarded.now += 20
        assert (await talk.send(sample(), GOOD))["type"] == "DATA_RETURN"


async def test_registered_names_cannot_be_guessed(guarded: _Guarded) -> None:
    """With registration closed a known and an unknown name get the same answer after the same number of hashes."""
    found = []
    for name in ("good", "nobody"):
        before = await guarded.hashes()
        async with guarded.client.post("/client", json={"username": name, "password": "wrong"}) as response:
            headers = {key: value for key, value in response.headers.items() if key not in ("Date", "X-Request-ID")}
            found.append((response.status, await response.json(), headers, await guarded.hashes() - before))
    assert found[0] == found[1]
    assert (found[0][0], found[0][1], found[0][3]) == (401, {"error": "authorization error"}, 1)


async def test_a_flood_of_wrong_secrets_hashes_no_more_than_the_limit(guarded: _Guarded) -> None:
    """Hundreds at once from one address hash no more passwords than the limit; other addresses continue."""
    before = await guarded.hashes()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:
        address = guarded.client.make_url("/client")

        async def guess(number: int) -> int:
            document = {"username": "good" if number % 2 else "nobody", "password": f"guess-{number}"}
            async with session.post(address, json=document) as response:
                return response.status

        flood = asyncio.gather(*(guess(number) for number in range(300)))
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=connector) as other:
            headers = {"Authorization": GOOD}
            async with other.post(f"{address}/good", json=sample(), headers=headers) as response:
                assert response.status == 202
        statuses = await flood
    assert (statuses.count(401), statuses.count(429)) == (TRIES, 300 - TRIES)
    # One more for the machine from elsewhere, which had not shown its id yet.
    assert await guarded.hashes() - before == TRIES + 1


async def test_x_forwarded_for_is_ignored(guarded: _Guarded) -> None:
    """A header with another address gives no further attempts, because the service knows no trusted proxy."""
    client = guarded.client
    for number in range(TRIES):
        headers = {"Authorization": f"Bearer guess-{number}", "X-Forwarded-For": f"192.0.2.{number}"}
        assert (await client.get("/jobs", headers=headers)).status == 401
    headers = {"Authorization": "Bearer guess", "X-Forwarded-For": "192.0.2.9", "Forwarded": "for=192.0.2.9"}
    assert (await client.get("/jobs", headers=headers)).status == 429


async def test_two_services_on_one_host_keep_their_sessions(settings: Settings, tmp_path: Path) -> None:
    """A browser that signs in to both stays signed in to both, though it sends the cookies of all ports to each."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        running(build(replace(settings, token="one"))) as one,
        running(build(replace(settings, token="two", data_dir=tmp_path / "two"))) as two,
        aiohttp.ClientSession(cookie_jar=jar) as browser,
    ):
        for client, token in ((one, "one"), (two, "two")):
            form = {"token": token}
            async with browser.post(client.make_url("/login"), data=form, allow_redirects=False) as response:
                assert response.status == 303
        for client in (one, two):
            async with browser.get(client.make_url("/jobs")) as response:
                assert response.status == 200
