"""The rights of tokens with roles, over HTTP."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp import WSServerHandshakeError

from tests.each import each
from tests.lock_waits import waits_for_lock
from tests.metrics.samples import context, metric, session
from tests.waiting import SECONDS, until

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


async def test_a_service_without_a_token_makes_none(client: Any) -> None:
    """A service without a token is open, so it refuses to make a lesser token."""
    async with client.post("/tokens", json={"name": "ci", "role": "read"}) as response:
        assert response.status == 409
        assert "--token-file" in (await response.json())["detail"]


async def test_a_read_token_reads_and_changes_nothing(guarded: Any) -> None:
    """A token with the role `read` may read everything and change nothing."""
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
        assert (await socket.receive(timeout=SECONDS)).data
    with pytest.raises(WSServerHandshakeError) as refused:
        await guarded.ws_connect("/commands", headers=read)
    assert refused.value.status == 403
    async with guarded.get("/jobs", headers=OWN) as response:
        assert (await response.json())["jobs"] == []


async def test_an_ingest_token_sends_measures_and_reads_nothing(guarded: Any) -> None:
    """A token with the role `ingest` is enough for the plugin and imports, as Bearer and Basic, and reads nothing."""
    ingest = await make(guarded, "ci", "ingest")
    basic = base64.b64encode(f"anybody:{ingest['Authorization'].removeprefix('Bearer ')}".encode()).decode()
    for shown in (ingest, {"Authorization": f"Basic {basic}"}):
        assert await status(guarded, "GET", f"/contexts/{'c' * 32}", shown) in (200, 204)
        assert await status(guarded, "POST", "/contexts/", shown, json=context()) == 201
        assert await status(guarded, "GET", f"/sessions/{'5' * 32}", shown) in (200, 204)
        assert await status(guarded, "POST", "/sessions/", shown, json=session()) == 201
        assert await status(guarded, "GET", f"/sessions/{'5' * 32}/metrics/count", shown) == 200
        assert await status(guarded, "POST", "/metrics/", shown, json=metric()) == 201
        assert await status(guarded, "POST", "/client", shown, json={"username": "rack7", "password": "x"}) == 200
    for path in (
        "/contexts/",
        "/metrics/",
        f"/sessions/{'5' * 32}/metrics",
        "/hosts/",
        "/jobs",
        "/console/",
        "/openapi.json",
    ):
        assert await status(guarded, "GET", path, ingest) == 403, path
    assert await status(guarded, "DELETE", f"/sessions/{'5' * 32}", ingest) == 403


async def test_a_control_token_may_do_everything(guarded: Any) -> None:
    """A token with the role `control` may do everything, and can be revoked."""
    control = await make(guarded, "ops", "control")
    async with guarded.post("/commands/exec", json={"cmd": "true"}, headers=control) as response:
        assert response.status == 200
        await response.read()
    assert await status(guarded, "DELETE", "/tokens/ops", control) == 204
    assert await status(guarded, "GET", "/jobs", control) == 401


async def test_a_revoked_token_and_its_cookies_are_invalid(guarded: Any) -> None:
    """A revoked token and its sessions stay invalid, also when a new token has the same name."""
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


@each("change", CHANGES.values())
async def test_a_changed_cookie_is_refused(guarded: Any, change: Any) -> None:
    """The signature covers all parts of a cookie."""
    async with guarded.post("/login", data={"token": "own-secret"}, allow_redirects=False) as response:
        ((name, morsel),) = response.cookies.items()
        cookie = morsel.value
    guarded.session.cookie_jar.clear()
    assert await status(guarded, "GET", "/jobs", {"Cookie": f"{name}={cookie}"}) == 200
    assert await status(guarded, "GET", "/jobs", {"Cookie": f"{name}={change(cookie)}"}) == 401


async def test_an_expired_token_is_refused_and_listed(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired token is refused, and the list shows it as expired."""
    read = await make(guarded, "short", "read", seconds=0.001)
    await asyncio.sleep(0.01)
    assert await status(guarded, "GET", "/jobs", read) == 401
    async with guarded.get("/tokens", headers=OWN) as response:
        (entry,) = (await response.json())["tokens"]
    assert (entry["name"], entry["expired"]) == ("short", True)
    assert "digest" not in entry and "token" not in entry


@each(
    "body",
    [{}, {"name": "a b", "role": "read"}, {"name": "a", "role": "root"}, {"name": "a", "role": "read", "seconds": -1}],
)
async def test_an_invalid_token_request_names_the_field(guarded: Any, body: dict[str, Any]) -> None:
    """An invalid request for a token gets 400 with the bad field."""
    assert await status(guarded, "POST", "/tokens", OWN, json=body) == 400


async def test_a_name_can_be_used_once(guarded: Any) -> None:
    """A taken name gets 409, and an unknown token cannot be revoked."""
    await make(guarded, "ci", "ingest")
    assert await status(guarded, "POST", "/tokens", OWN, json={"name": "ci", "role": "read"}) == 409
    assert await status(guarded, "DELETE", "/tokens/other", OWN) == 404


async def test_strange_credentials_are_refused(guarded: Any) -> None:
    """Strange credentials are refused and cause no error."""
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


async def test_an_active_request_of_a_revoked_token_is_answered_once(guarded: Any, settings: Any) -> None:
    """A request that waits for the database when its token is revoked gets one answer."""
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
        return await waits_for_lock(connection)
    finally:
        await connection.close()


async def test_a_token_in_a_url_is_ignored(guarded: Any) -> None:
    """URLs are in logs and histories, so a token in a URL is not accepted."""
    read = await make(guarded, "wall", "read")
    token = read["Authorization"].removeprefix("Bearer ")
    for path in (f"/jobs?token={token}", f"/jobs?access_token={token}"):
        assert await status(guarded, "GET", path, {}) == 401


async def test_logout_removes_the_session(guarded: Any) -> None:
    """After the logout the browser has no cookie; before it, a `read` session has no buttons."""
    read = await make(guarded, "wall", "read")
    form = {"token": read["Authorization"].removeprefix("Bearer ")}
    async with guarded.post("/login", data=form, allow_redirects=False) as response:
        assert response.status == 303
    assert await status(guarded, "GET", "/jobs", {}) == 200
    assert await status(guarded, "POST", "/logout", {}) == 303
    assert await status(guarded, "GET", "/jobs", {}) == 401


async def test_wrong_tokens_are_logged_with_the_address_only(guarded: Any) -> None:
    """The log has the address and not the token; a request without a token is not logged."""
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
