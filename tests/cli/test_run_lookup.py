"""Load tests by what a person types."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.cli.run_lookup import find_run
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, NotFound
from tests.turrets.conftest import _lab
from tests.turrets.runs import ask, post, until_over

__all__ = ["_lab"]


async def _ended_run(lab: Any, name: str) -> str:
    run = await ask(lab, name=name)
    await post(lab, f"/turret-runs/{run['id']}/stop")
    await until_over(lab, run["id"])
    return str(run["id"])


async def test_a_run_is_found_by_its_id_its_beginning_and_as_the_newest(lab: Any) -> None:
    """A name is no id: the error has the id of the newest run of that name."""
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as rest:
        with pytest.raises(InvalidInput, match="there is no run yet; smartmob fire PROJECT makes one"):
            await find_run(rest, "last")
        first, last = await _ended_run(lab, "night"), await _ended_run(lab, "night")
        common = next(length for length, (a, b) in enumerate(zip(first, last, strict=True)) if a != b)
        for ident, found in ((first, first), (last[:-1], last), (first[: common + 1], first), ("last", last)):
            assert await find_run(rest, ident) == found
        with pytest.raises(InvalidInput, match="is the beginning of 2 runs; give more of the id"):
            await find_run(rest, first[:common])
        with pytest.raises(NotFound, match=f"there is no load test night; the newest of this name is {last}"):
            await find_run(rest, "night")
        with pytest.raises(NotFound, match=r"there is no load test lats.*last"):
            await find_run(rest, "lats")
