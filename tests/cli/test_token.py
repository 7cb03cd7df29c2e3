"""`smartmob token`: the real command against a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import run

pytestmark = pytest.mark.timeout(900)


async def test_add_use_list_and_revoke(with_settings: Any, tmp_path: Path) -> None:
    """The token is printed to standard output only, is accepted until it is revoked, and is never shown again."""
    client = await with_settings(token="own-secret")
    server = {"SMARTMOB_SERVER": f"http://127.0.0.1:{client.server.port}"}
    own = {**server, "SMARTMOB_TOKEN": "own-secret"}
    code, token, errors = await run("token", "add", "wall", "--role", "read", "--expires", "30d", **own)
    assert code == 0
    assert "not shown again" in errors and token.strip() not in errors

    theirs = {**server, "SMARTMOB_TOKEN": token.strip()}
    assert (await run("tests", "ls", **theirs))[0] == 0
    code, _, errors = await run("mark", "x", **theirs)
    assert code == 3
    assert "has the role read" in errors

    code, output, _ = await run("token", "ls", **own)
    assert code == 0
    assert "wall" in output and token.strip() not in output
    code, output, _ = await run("token", "ls", "--json", **own)
    assert [entry["role"] for entry in json.loads(output)] == ["read"]
    assert (await run("token", "revoke", "wall", **own))[0] == 0
    assert (await run("tests", "ls", **theirs))[0] == 3
    assert (await run("token", "add", "wall", "--role", "king", **own))[0] == 2
    assert (await run("token", "add", "wall", "--role", "read", "--expires", "soon", **own))[0] == 2
