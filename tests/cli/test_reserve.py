"""`smartmob reserve`, `release` and `reservations`, and other commands on a reserved machine."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import Command


async def test_a_machine_is_reserved_used_and_released(smartmob: Command, client: Any) -> None:
    """Without tokens the printed id makes the holder; each command tells others who has the machine."""
    async with client.post("/api/v1/nodes/join", json={"name": "rack7"}) as answer:
        assert answer.status == 201
    code, output, errors = await smartmob("reserve", "--for", "10m", "--reason", "profiling")
    ident = output.strip()
    assert (code, len(ident)) == (0, 36)
    assert f"export SMARTMOB_RESERVATION={ident}" in errors
    code, output, errors = await smartmob("exec", "true")
    assert (code, output) != (0, "")
    assert "the machine of this service is reserved by" in errors
    assert "(profiling)" in errors
    assert (await smartmob("exec", "true", SMARTMOB_RESERVATION=ident))[0] == 0
    assert "This machine is reserved by" in (await smartmob("ps"))[2]
    code, _, errors = await smartmob("reserve")
    assert code == 3
    assert "is reserved by" in errors
    code, output, _ = await smartmob("reserve", "--for", "20m", "--json", SMARTMOB_RESERVATION=ident)
    assert (code, json.loads(output)["id"]) == (0, ident)
    assert (await smartmob("reserve", "rack7", "--for", "1h"))[0] == 0
    code, output, _ = await smartmob("reservations", "--json", SMARTMOB_RESERVATION=ident)
    assert [(each["node"], each["mine"]) for each in json.loads(output)] == [("", True), ("rack7", False)]
    code, output, _ = await smartmob("nodes", "ls")
    assert "rack7 is reserved by" in output
    assert "reserved by" in (await smartmob("doctor", "--on", "rack7"))[1]
    code, _, errors = await smartmob("release", "rack7")
    assert code == 3
    assert "--force releases it" in errors
    assert (await smartmob("release", "rack7", "--force"))[0] == 0
    assert (await smartmob("release", SMARTMOB_RESERVATION=ident))[0] == 0
    assert (await smartmob("exec", "true"))[0] == 0


async def test_mistakes_in_a_reservation_are_named(smartmob: Command) -> None:
    """A machine that does not exist, a duration that is too long, an id that is none."""
    code, output, errors = await smartmob("reserve", "rack9")
    assert (code, output) == (1, "")
    assert "there is no node rack9" in errors
    assert "seconds" in (await smartmob("reserve", "--for", "8d"))[2]
    code, _, errors = await smartmob("ps", SMARTMOB_RESERVATION="rack7")
    assert code == 2
    assert "is not the id that `smartmob reserve` has printed" in errors
