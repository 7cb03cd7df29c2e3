"""A run is found by its name, and by the beginning of the hash of a session."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.stored_runs import find_run, resolved
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, NotFound
from tests.metrics.samples import session


async def test_a_run_is_found_by_each_of_its_names(client: Any) -> None:
    """A beginning that several sessions have is refused."""
    for h in ("aa1", "aa2", "b"):
        await client.post("/sessions/", json=session(h, description={"run": "one/x"}))
    async with RestClient(f"http://127.0.0.1:{client.server.port}") as rest:
        assert (await find_run(rest, "one/x"))["id"] == "one/x"
        run, name = await resolved(rest, "aa1")
        assert (run["id"], name) == ("one/x", "aa1")
        assert (await resolved(rest, "b"))[1] == "b"
        with pytest.raises(InvalidInput, match="beginning of 2 sessions"):
            await resolved(rest, "aa")
        with pytest.raises(NotFound, match="smartmob tests ls"):
            await resolved(rest, "zz")
