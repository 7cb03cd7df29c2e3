"""One bad turret costs only itself: whatever it sends, honest results are stored, counted exactly and acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec
import psutil
import pytest
import structlog
import zmq
import zmq.asyncio

from smartmob.turrets.hq.sockets import HeadquartersSockets
from smartmob.turrets.protocol import LONGEST_MESSAGE, Slice
from tests.turrets.conftest import QUICK, Recruit
from tests.turrets.messages import oct_result, own_status, slice_of, slices
from tests.turrets.raw import GREETING, subscription
from tests.turrets.runs import ask, get, until_over
from tests.turrets.scripted import OctTurret, OwnTurret
from tests.waiting import SECONDS, until

pytestmark = pytest.mark.timeout(900)

HUGE = 10**30
GOOD = slice_of(0, [0.01])


def _spoiled(**changes: Any) -> bytes:
    """Return a slice with fields that no slice of ours has."""
    return msgspec.json.encode(msgspec.to_builtins(GOOD) | changes)


def _sent(part: bytes) -> Callable[[str], bytes]:
    return lambda run: (
        b'{"slices":[' + part + b'],"turret":"bad","uuid":"bad","run":"' + run.encode() + b'","sequence":1}'
    )


HOSTILE: dict[str, Callable[[str], bytes]] = {
    "errors": _sent(_spoiled(errors={"x": HUGE})),
    "late": _sent(_spoiled(late=HUGE)),
    "late beyond a column": _sent(_spoiled(late=2**63)),
    "second": _sent(_spoiled(second=HUGE)),
    "count": _sent(_spoiled(count=HUGE)),
    "squares": _sent(_spoiled(squares=1e300)),
    "timer": _sent(_spoiled(timer="x" * 2_000_000)),
    "error text": _sent(_spoiled(errors={"x" * 2_000_000: 1})),
    "error texts": _sent(_spoiled(errors={f"x{number}": 1 for number in range(1000)})),
    "histogram": _sent(_spoiled(histogram="x" * 2_000_000)),
    "sequence": lambda run: slices(run, HUGE, [GOOD], "bad"),
    "uuid": lambda run: slices(run, 1, [GOOD], "x" * 100_000),
    "too many slices": lambda run: slices(run, 1, [GOOD] * 2000, "bad"),
    "memory": lambda run: own_status(
        "ready",
        run,
        "bad",
        health={"cpu": 1, "busiest": 1, "cores": 1, "lag": 0, "memory": HUGE},
    ),
    "memory beyond a column": lambda run: own_status(
        "ready",
        run,
        "bad",
        health={"cpu": 1, "busiest": 1, "cores": 1, "lag": 0, "memory": 2**63},
    ),
    "no number": lambda run: own_status("ready", run, "bad", lateness="nan"),
    "users": lambda run: own_status("ready", run, "bad", users=2**40),
    "report": lambda run: own_status("ready", run, "bad", sequence=HUGE),
    "name": lambda run: own_status("ready", run, "x" * 100_000),
    "time": lambda run: oct_result(epoch=1e308),
    "timers": lambda run: oct_result(custom_timers={f"t{number}": 1 for number in range(2000)}),
}


async def test_numbers_names_and_counts_have_bounds(lab: Any, recruit: Recruit, database_url: str) -> None:
    """Each message beyond them is counted and left out, all tasks live, and the run ends with all honest results."""
    own, oct_turret = await recruit(lab, OwnTurret), await recruit(lab, OctTurret)
    bad = await recruit(lab, OctTurret, uuid="bad")
    run = await ask(lab, run_time=3600, min_turrets=3)
    await own.until_told("start")
    await oct_turret.until_told("start")
    with structlog.testing.capture_logs() as lines:
        for message in HOSTILE.values():
            await bad.send(message(run["id"]))
            await own.deliver(slice_of(0, [0.01] * 10, errors={"boom": 1}))
            await oct_turret.fire({"elapsed": 0.1})
        await own.until_acknowledged(len(HOSTILE))

        async def counted() -> bool:
            document = await get(lab, f"/turret-runs/{run['id']}")
            return bool(
                document["counters"]["malformed"] == len(HOSTILE) and document["transactions"] == 11 * len(HOSTILE)
            )

        await until(counted)
        checks = await get(lab, "/ready")
        async with lab.post(f"/turret-runs/{run['id']}/stop"):
            pass
        over = await until_over(lab, run["id"])

    assert set(checks["checks"].values() if "checks" in checks else checks.values()) <= {"ok", "ready"}
    assert (over["state"], over["transactions"], over["counters"]["dropped"]) == ("stopped", 11 * len(HOSTILE), 0)
    assert [line for line in lines if line["log_level"] == "error"] == []
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM turret_results") == len(HOSTILE)
    assert await connection.fetchval("SELECT sum(count) FROM turret_slices WHERE uuid = 'own-1'") == 10 * len(HOSTILE)
    await connection.close()


async def test_only_what_the_database_refuses_is_left_out(lab: Any, recruit: Recruit, database_url: str) -> None:
    """A refused batch is divided: the rows of other turrets are stored and acknowledged, the wrong row is neither."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE turret_slices ADD CHECK (timer <> 'poison')")
    good, bad = await recruit(lab, OwnTurret, uuid="good"), await recruit(lab, OwnTurret, uuid="bad")
    oct_turret = await recruit(lab, OctTurret)
    run = await ask(lab, run_time=3600, min_turrets=3)
    for turret in (good, bad, oct_turret):
        await turret.until_told("start")
    with structlog.testing.capture_logs() as lines:
        await bad.deliver(slice_of(0, [0.01] * 7))
        await bad.deliver(slice_of(0, [0.01], timer="poison"))
        await bad.deliver(slice_of(0, [0.01] * 5))
        for number in range(20):
            await good.deliver(slice_of(0, [0.01] * 10))
            await oct_turret.fire({"elapsed": 0.1, "scriptrun_time": number / 100})
        await good.until_acknowledged(20)

        async def stored() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM turret_results") == 20)

        await until(stored)
        await until(lambda: [line for line in lines if line["event"] == "turrets.refused"])
        await bad.deliver(slice_of(0, [0.01] * 3))
        await good.deliver(slice_of(0, [0.01] * 10))
        await good.until_acknowledged(21)

    refused = [line["turrets"] for line in lines if line["event"] == "turrets.refused"]
    rows = await connection.fetch("SELECT uuid, sum(count) AS n FROM turret_slices WHERE uuid <> '' GROUP BY uuid")
    progress = {row["uuid"]: row["sequence"] for row in await connection.fetch("SELECT * FROM turret_progress")}
    kept = {row["uuid"]: row["n"] for row in rows}
    await connection.close()
    assert refused == [["bad"]]
    assert kept["good"] == 210
    assert progress.get("bad", 0) < 2
    assert bad.acknowledged == progress.get("bad", 0)
    # What is stored of it is what is acknowledged, and nothing else.
    assert kept.get("bad", 0) == (7 if bad.acknowledged else 0)
    document = await get(lab, f"/turret-runs/{run['id']}")
    assert document["counters"]["dropped"] > 0


async def test_a_histogram_that_is_expensive_to_read() -> None:
    """A message whose histograms unpack to more than a megabyte is refused before all of them are read."""
    from smartmob.errors import InvalidInput
    from smartmob.turrets.slices import MOST_UNPACKED, check_histograms

    full: Slice = slice_of(0, [1e-6 * 1.001**number for number in range(20_000)])
    check_histograms([full])
    with pytest.raises(InvalidInput, match=str(MOST_UNPACKED)):
        check_histograms([full] * 1000)


@pytest.mark.parametrize("place", [0, 2], ids=["orders", "external"])
async def test_long_subscriptions_end_their_connection(place: int) -> None:
    """They end their connection and take no memory of the headquarters; short ones work."""
    channel = HeadquartersSockets(QUICK, False, lambda _: None)
    channel.open()
    context = zmq.asyncio.Context()
    try:
        before = psutil.Process().memory_info().rss
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", channel.ports[place])
            writer.write(GREETING + subscription(b"x" * (LONGEST_MESSAGE - 1000)))
            async with asyncio.timeout(SECONDS):
                with suppress(ConnectionError):
                    while await reader.read(65_536):
                        pass
            writer.close()
        # A publisher that keeps them takes 24 bytes for each of theirs: 390 MB in all.
        assert psutil.Process().memory_info().rss - before < 100 * 1024 * 1024

        good = context.socket(zmq.SUB)
        good.subscribe(b"")
        good.connect(f"tcp://127.0.0.1:{channel.ports[place]}")

        async def heard() -> bool:
            if place:
                channel.republish(b"run", [b"frame"])
            else:
                channel.publish(b" {}")
            return bool(await good.poll(20))

        await until(heard)
    finally:
        context.destroy(linger=0)
        await channel.close()
