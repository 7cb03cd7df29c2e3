"""`smartmob mark` and `marks`: the real commands against a running service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.commands import run

pytestmark = pytest.mark.timeout(900)


async def test_mark_list_and_remove(client: Any) -> None:
    """A note goes in with the name of who typed it, is listed, and is removed by its id."""
    server = {"SMARTMOB_SERVER": f"http://127.0.0.1:{client.server.port}"}
    code, output, errors = await run("mark", "new kernel", "--json", **server)
    assert (code, errors) == (0, "")
    mark = json.loads(output)
    assert mark["text"] == "new kernel" and "@" in mark["author"]
    code, output, errors = await run("mark", "an hour ago", "--at", "2026-11-23T08:00:00Z", "--author", "ann", **server)
    assert (code, output) == (0, "")
    assert errors.startswith("Marked 2026-11-23 ")

    code, output, errors = await run("marks", "--last", "1h", **server)
    assert (code, errors) == (0, "")
    assert "new kernel" in output and "an hour ago" not in output
    code, output, _ = await run("marks", "--json", **server)
    assert [found["text"] for found in json.loads(output)] == ["an hour ago", "new kernel"]

    assert (await run("marks", "--remove", mark["id"], **server))[0] == 0
    code, _, errors = await run("marks", "--remove", mark["id"], **server)
    assert code == 1
    assert "no mark" in errors
    code, _, errors = await run("mark", "two\nlines", **server)
    assert code == 3
    assert "one line of text" in errors
