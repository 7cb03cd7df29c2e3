"""Commands that the console runs on other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from smartmob.console.peers import RemoteServices
from smartmob.errors import SettingsError
from smartmob.feature_settings import ConsoleSettings


async def _lines(response: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (await response.read()).splitlines()]


async def test_a_command_runs_on_another_machine_with_its_token(with_settings: Any, tmp_path: Path) -> None:
    """The other machine gets its own token, and its answer is passed on unchanged."""
    other = await with_settings(token="theirs", data_dir=tmp_path / "other")
    token = tmp_path / "token"
    token.write_text("theirs\n")
    address = f"http://127.0.0.1:{other.server.port}"
    client = await with_settings(console=ConsoleSettings(peers=(address,), peers_token_file=token))

    async with client.get("/console/peers") as response:
        assert (await response.json())["peers"] == [{"number": 0, "name": f"127.0.0.1:{other.server.port}"}]
    async with client.post("/console/peers/0/commands/exec", json={"cmd": "echo there; exit 4"}) as response:
        assert response.status == 200
        lines = await _lines(response)
    assert "".join(line.get("text", "") for line in lines) == "there\n"
    assert (lines[-1]["ended"], lines[-1]["exit_code"]) == (True, 4)
    async with other.get("/jobs", headers={"Authorization": "Bearer theirs"}) as response:
        assert (await response.json())["jobs"][0]["client"].startswith("http 127.0.0.1")


async def test_a_refusal_of_the_other_machine_is_passed_on(with_settings: Any, tmp_path: Path) -> None:
    """The error has the status of the other machine, and not the token."""
    other = await with_settings(token="theirs", data_dir=tmp_path / "other")
    client = await with_settings(console=ConsoleSettings(peers=(f"http://127.0.0.1:{other.server.port}",)))
    async with client.post("/console/peers/0/commands/exec", json={"cmd": "true"}) as response:
        assert response.status == 503
        assert "answered 401" in (await response.json())["detail"]


async def test_an_unreachable_machine_is_named(with_settings: Any) -> None:
    """The error names the machine that cannot be reached."""
    client = await with_settings(console=ConsoleSettings(peers=("http://127.0.0.1:1",)))
    async with client.post("/console/peers/0/commands/exec", json={"cmd": "true"}) as response:
        assert response.status == 503
        assert "http://127.0.0.1:1 cannot be reached" in (await response.json())["detail"]


@pytest.mark.parametrize("number", ["0", "1", "-1", "x", "999999999999"])
async def test_only_configured_machines_are_reached(client: Any, number: str) -> None:
    """A number that is no peer of the settings answers 404."""
    async with client.post(f"/console/peers/{number}/commands/exec", json={"cmd": "true"}) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    "address", ["rack7:8080", "ftp://rack7", "http://", "http://me:secret@rack7", "http://rack7/?q=1", "http://rack7#x"]
)
def test_invalid_addresses_are_refused_at_the_start(address: str) -> None:
    """The error has an example of a valid address."""
    with pytest.raises(SettingsError, match=r"http://rack7:8080"):
        RemoteServices(ConsoleSettings(peers=(address,)))
