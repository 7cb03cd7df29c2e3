"""What tokens let somebody do, as clients see it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp import WSServerHandshakeError

from tests.metrics.samples import context, metric, session
from tests.waiting import until

OWN = {"Authorization": "Bearer own-secret"}


@pytest.fixture(name="guarded")
async def _guarded(with_settings: Any) -> Any:
    """Return a client of a service that was started with a token."""
    return await with_settings(token="own-secret")


async def make(client: Any, name: str, role: str, **more: Any) -> dict[str, str]:
    """Return the header of a new token."""
    async with client.post("/tokens", json={"name": name, "role": role, **more}, headers=OWN) as response:
        made = await response.json()
        assert response.status == 201, made
        assert response.headers["Cache-Control"] == "no-store"
        return {"Authorization": f"Bearer {made['token']}"}


async def status(client: Any, method: str, path: str, headers: dict[str, str], **more: Any) -> int:
    async with client.request(method, path, headers=headers, allow_redirects=False, **more) as response:
        return int(response.status)


async def test_the_service_needs_a_token_first(client: Any) -> None:
    """Without one everybody may do everything, so a lesser token would protect nothing."""
    async with client.post("/tokens", json={"name": "ci", "role": "read"}) as response:
        assert response.status == 409
        assert "--token-file" in (await response.json())["detail"]


async def test_a_token_that_reads(guarded: Any) -> None:
    """It sees what is there, and changes nothing."""
    read = await make(guarded, "wall", "read")
    for path in (
        "/contexts/",
        "/api/v1/runs/",
        "/list-processes",
        "/jobs",
        "/hosts/",
        "/marks",
        "/console/",
        "/metrics",
    ):
        assert await status(guarded, "GET", path, read) in (200, 204), path
        assert await status(guarded, "HEAD", path, read) in (200, 204), path
    for method, path in (
        *(("POST", "/contexts/"), ("POST", "/metrics"), ("POST", "/api/v1/sessions/"), ("POST", "/create-process")),
        *(("POST", "/commands/exec"), ("POST", "/marks"), ("DELETE", "/sessions/x"), ("POST", "/turret-runs")),
        *(("POST", "/tokens"), ("GET", "/tokens"), ("DELETE", "/tokens/wall"), ("POST", "/upload-archive")),
        *(("POST", "/api/v1/api/v1/metrics/"), ("POST", "/stop-process/x")),
    ):
        assert await status(guarded, method, path, read, json={}) == 403, path
    async with guarded.post("/commands/exec", json={"cmd": "true"}, headers=read) as response:
        assert "the token wall has the role read, but this needs the role control" in (await response.json())["detail"]
    async with guarded.ws_connect("/console/live", headers=read) as socket:
        assert (await socket.receive(timeout=10)).data
    with pytest.raises(WSServerHandshakeError) as refused:
        await guarded.ws_connect("/commands", headers=read)
    assert refused.value.status == 403
    async with guarded.get("/jobs", headers=OWN) as response:
        assert (await response.json())["jobs"] == []


async def test_a_token_that_sends_measures(guarded: Any) -> None:
    """It is all that the plugin needs, as Bearer and as the password of Basic; it sees nothing else."""
    ingest = await make(guarded, "ci", "ingest")
    basic = base64.b64encode(f"anybody:{ingest['Authorization'].removeprefix('Bearer ')}".encode()).decode()
    for shown in (ingest, {"Authorization": f"Basic {basic}"}):
        assert await status(guarded, "GET", f"/contexts/{'c' * 32}", shown) in (200, 204)
        assert await status(guarded, "POST", "/contexts/", shown, json=context()) == 201
        assert await status(guarded, "GET", f"/sessions/{'5' * 32}", shown) in (200, 204)
        assert await status(guarded, "POST", "/sessions/", shown, json=session()) == 201
        assert await status(guarded, "POST", "/metrics/", shown, json=metric()) == 201
        assert await status(guarded, "POST", "/client", shown, json={"username": "rack7", "password": "x"}) == 200
    for path in ("/contexts/", "/metrics/", "/hosts/", "/jobs", "/console/", "/openapi.json"):
        assert await status(guarded, "GET", path, ingest) == 403, path
    assert await status(guarded, "DELETE", f"/sessions/{'5' * 32}", ingest) == 403


async def test_a_token_that_controls(guarded: Any) -> None:
    """It may do what the service's own may, and be taken away."""
    control = await make(guarded, "ops", "control")
    async with guarded.post("/commands/exec", json={"cmd": "true"}, headers=control) as response:
        assert response.status == 200
        await response.read()
    assert await status(guarded, "DELETE", "/tokens/ops", control) == 204
    assert await status(guarded, "GET", "/jobs", control) == 401


async def test_what_is_revoked_holds_no_longer(guarded: Any) -> None:
    """Neither the token nor a session that was opened with it, also when there is a new one of that name."""
    read = await make(guarded, "wall", "read")
    form = {"token": read["Authorization"].removeprefix("Bearer ")}
    async with guarded.post("/login", data=form, allow_redirects=False) as response:
        assert response.status == 303
        (morsel,) = response.cookies.values()
        cookie = {"Cookie": f"{morsel.key}={morsel.value}"}
    guarded.session.cookie_jar.clear()
    assert await status(guarded, "GET", "/jobs", cookie) == 200
    assert await status(guarded, "POST", "/marks", cookie, json={"text": "x"}) == 403
    async with guarded.get("/console/", headers=cookie) as response:
        text = await response.text()
        assert 'data-role="read"' in text and "wall: read" in text

    assert await status(guarded, "DELETE", "/tokens/wall", OWN) == 204
    for shown in (read, cookie):
        assert await status(guarded, "GET", "/jobs", shown) == 401
    await make(guarded, "wall", "control")
    for shown in (read, cookie):
        assert await status(guarded, "GET", "/jobs", shown) == 401


CHANGES = {
    "signature": lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
    "nonce": lambda cookie: cookie.replace(".", ".a", 1),
    "nothing": lambda _: "...",
    "made up": lambda _: ".".join(("9999999999", "x", "ff" * 32, "0" * 64)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_cookies_that_were_changed(guarded: Any, change: Any) -> None:
    """The signature holds all of it together."""
    async with guarded.post("/login", data={"token": "own-secret"}, allow_redirects=False) as response:
        ((name, morsel),) = response.cookies.items()
        cookie = morsel.value
    guarded.session.cookie_jar.clear()
    assert await status(guarded, "GET", "/jobs", {"Cookie": f"{name}={cookie}"}) == 200
    assert await status(guarded, "GET", "/jobs", {"Cookie": f"{name}={change(cookie)}"}) == 401


async def test_an_expired_token(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets nobody in, and the list says so."""
    read = await make(guarded, "short", "read", seconds=0.001)
    await asyncio.sleep(0.01)
    assert await status(guarded, "GET", "/jobs", read) == 401
    async with guarded.get("/tokens", headers=OWN) as response:
        (entry,) = (await response.json())["tokens"]
    assert (entry["name"], entry["expired"]) == ("short", True)
    assert "digest" not in entry and "token" not in entry


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "a b", "role": "read"}, {"name": "a", "role": "root"}, {"name": "a", "role": "read", "seconds": -1}],
)
async def test_what_is_no_token(guarded: Any, body: dict[str, Any]) -> None:
    """It is refused with the field that is wrong."""
    assert await status(guarded, "POST", "/tokens", OWN, json=body) == 400


async def test_a_name_is_taken_once(guarded: Any) -> None:
    """And what is not there cannot be revoked."""
    await make(guarded, "ci", "ingest")
    assert await status(guarded, "POST", "/tokens", OWN, json={"name": "ci", "role": "read"}) == 409
    assert await status(guarded, "DELETE", "/tokens/other", OWN) == 404


async def test_strange_credentials(guarded: Any) -> None:
    """They let nobody in, and do no harm."""
    for text in (
        "",
        "Bearer",
        "Bearer ",
        "Basic !!!",
        "Basic " + "A" * 5000,
        "Bearer " + "x" * 7000,
        "Bearer ü",
        "smt_x",
    ):
        assert await status(guarded, "GET", "/jobs", {"Authorization": text}) == 401, text


async def test_what_is_under_way_is_answered(guarded: Any, settings: Any) -> None:
    """Who is let in and waits for the database when the token is revoked gets an answer, once."""
    read = await make(guarded, "wall", "read")
    connection = await asyncpg.connect(str(settings.database.url))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE marks")
            asked = asyncio.ensure_future(status(guarded, "GET", "/marks", read))
            await until(lambda: _waits(str(settings.database.url)))
            assert await status(guarded, "DELETE", "/tokens/wall", OWN) == 204
        assert await asked == 200
        assert await status(guarded, "GET", "/marks", read) == 401
    finally:
        await connection.close()


async def _waits(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        # Of this database: the other tests of the run have theirs on the same server.
        query = (
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database WHERE NOT granted AND datname = $1"
        )
        return bool(await connection.fetchval(query, url.rpartition("@/")[2].partition("?")[0]))
    finally:
        await connection.close()


async def test_a_token_is_not_found_in_an_address(guarded: Any) -> None:
    """Addresses stand in logs and histories, so one there lets nobody in."""
    read = await make(guarded, "wall", "read")
    token = read["Authorization"].removeprefix("Bearer ")
    for path in (f"/jobs?token={token}", f"/jobs?access_token={token}"):
        assert await status(guarded, "GET", path, {}) == 401


async def test_signing_out(guarded: Any) -> None:
    """The browser forgets the cookie, and a read-only one has no buttons before that."""
    read = await make(guarded, "wall", "read")
    form = {"token": read["Authorization"].removeprefix("Bearer ")}
    async with guarded.post("/login", data=form, allow_redirects=False) as response:
        assert response.status == 303
    assert await status(guarded, "GET", "/jobs", {}) == 200
    assert await status(guarded, "POST", "/logout", {}) == 303
    assert await status(guarded, "GET", "/jobs", {}) == 401


async def test_wrong_tokens_are_logged(guarded: Any) -> None:
    """With the address of who tries, never with what was tried; who shows nothing tries nothing."""
    with structlog.testing.capture_logs() as lines:
        await status(guarded, "GET", "/jobs", {})
        await status(guarded, "GET", "/jobs", {"Authorization": "Bearer a-wrong-one"})
        await status(guarded, "GET", "/jobs", {"Cookie": "smartmob_session=a-wrong-one"})
        await status(guarded, "POST", "/login", {}, data={"token": "a-wrong-one"})
    refused = [line for line in lines if line["event"] == "auth.refused"]
    assert [(line["shown"], line["client"]) for line in refused] == [
        ("header", "127.0.0.1"),
        ("cookie", "127.0.0.1"),
        ("form", "127.0.0.1"),
    ]
    assert "a-wrong-one" not in str(lines)
