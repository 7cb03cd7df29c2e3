"""The audit log of a service: what is recorded, and how it is listed."""

from __future__ import annotations

from typing import Any

from smartmob.client.command_client import CommandClient
from tests.waiting import until

OWN = {"Authorization": "Bearer own-secret"}


async def test_changes_are_recorded_with_who_and_outcome(with_settings: Any) -> None:
    """Requests and commands that change something, failed ones and refused logins; none that reads or sends results."""
    client = await with_settings(token="own-secret")

    async def call(method: str, path: str, token: str, **options: Any) -> Any:
        async with client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **options) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    status, made = await call("POST", "/tokens", "own-secret", json={"name": "ci", "role": "control"})
    assert status == 201
    status, reader = await call("POST", "/tokens", made["token"], json={"name": "eyes", "role": "read"})
    assert (await call("DELETE", "/tokens/none", made["token"]))[0] == 404
    assert (await call("DELETE", "/tokens/ci", reader["token"]))[0] == 403
    assert (await call("GET", "/tokens", made["token"]))[0] == 200
    assert (await call("POST", "/marks", made["token"], json={"text": "x"}))[0] == 201
    async with CommandClient(f"http://127.0.0.1:{client.server.port}", made["token"]) as commands:
        await commands.exec("exit 3", env={"PASSWORD": "hidden"}, complete=True)
        await commands.ls("/")
        await commands.mkdirs("/proc/none")
    for _ in range(2):
        assert (await call("GET", "/tokens", "guessed-one"))[0] == 401

    async def listed(query: str = "") -> Any:
        _, found = await call("GET", f"/api/v1/audit{query}", "own-secret")
        return found

    async def complete() -> Any:
        found = await listed()
        return found if len(found["events"]) >= 7 else None

    found = await until(complete)
    assert found["next"] is None
    rows = [(each["who"], each["node"], each["action"], each["target"], each["outcome"]) for each in found["events"]]
    assert rows == [
        ("(refused)", None, "login", "/tokens by header", "401"),
        ("ci", None, "mkdirs", "/proc/none", rows[1][4]),
        ("ci", None, "exec", "exit 3", rows[2][4]),
        ("eyes", None, "revoke_token", "/tokens/ci", "403"),
        ("ci", None, "revoke_token", "/tokens/none", "404"),
        ("ci", None, "add_token", "eyes read", "201"),
        ("(owner)", None, "add_token", "ci control", "201"),
    ]
    assert rows[1][4].startswith("exit code ") and rows[2][4].startswith("job ")
    assert not [secret for secret in ("hidden", "guessed-one", made["token"]) if secret in str(found)]
    assert [each["target"] for each in (await listed("?who=(owner)"))["events"]] == ["ci control"]
    first = await listed("?limit=2")
    rest = await listed(f"?limit=1000&before={first['next']}")
    assert first["events"] + rest["events"] == found["events"]
    assert (await listed("?node=x&since=0"))["events"] == []
    assert (await call("GET", "/api/v1/audit?before=x", "own-secret"))[0] == 400
    assert (await call("GET", "/api/v1/audit", reader["token"]))[0] == 403
