"""The queries of comparisons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from smartmob.kernel.db.database import Database
from smartmob.metrics.store.histories import EnvironmentSelection, HistoryReader
from smartmob.metrics.verdict.place import SessionOrigin
from smartmob.settings import Settings
from tests.metrics.samples import metric
from tests.metrics.suites import describe, send


@pytest.fixture(name="reader")
async def _reader(client: Any, settings: Settings) -> AsyncIterator[HistoryReader]:
    """Return a reader of the database of a service."""
    await describe(client)
    database = Database(settings.database, None)
    await database.open()
    yield HistoryReader(database)
    await database.close()


async def test_contexts_of_one_description_are_read_together(client: Any, reader: HistoryReader) -> None:
    """The host name and the frequency are no part of the description; other numbers of processors are left out."""
    await describe(client, "d" * 32, cpu_frequency=1.0, machine_node="rack8")
    await describe(client, "e" * 32, ram_total=1)
    await describe(client, "f" * 32, cpu_count=2)
    known = await reader.contexts(["c" * 32, "a" * 32])
    assert set(known) == {"c" * 32}
    found = await reader.similar_contexts(known["c" * 32])
    assert {one.context.ram_total: one.nodes for one in found} == {
        16000: {"c" * 32: "rack7", "d" * 32: "rack8"},
        1: {"e" * 32: "rack7"},
    }


async def test_the_name_of_a_machine_selects_its_sessions(client: Any, reader: HistoryReader) -> None:
    """A tag names the machine of a session, and comes before the host name and the address of the sender."""
    await describe(client)
    for number, tags in enumerate(({}, {"machine": "Pool"}, {"runner": "pool", "machine": ""}, {"runner": "rack7"})):
        await send(client, f"s{number}", number, tags=tags)
    names = [f"s{number}" for number in range(4)]
    fit = ["c" * 32]

    async def found(*selection: Any) -> list[str]:
        return [row.session_h for row in await reader.sessions(EnvironmentSelection(*selection), names)]

    assert await found(fit, fit, [], "rack7") == ["s0", "s3"]
    assert await found(fit, [], fit, "pool") == ["s1", "s2"]
    assert await found(fit, [], fit, "") == ["s0"]
    assert await found(fit, [], [], "") == []
    assert await found(fit, [], [], None) == names
    assert (await reader.origins(names))["s1"] == SessionOrigin("Pool", None)


async def test_sessions_are_read_before_and_after_a_position(client: Any, reader: HistoryReader) -> None:
    """Each session is read once, in the order of time."""
    await describe(client, "d" * 32, cpu_frequency=1.0)
    for hour in (2, 0, 1, 3):
        await send(client, f"s{hour}", hour, tags={"pipeline_branch": "main", "run": f"r{hour}"})
    await send(client, "s1", 1, context_h="d" * 32)
    contexts = ["c" * 32, "d" * 32]
    selection = EnvironmentSelection(contexts, contexts, [], "rack7")
    (one,) = await reader.sessions(selection, ["s1", "unknown"])
    assert (one.session_h, one.run_tag, one.scm_ref, one.branch) == ("s1", "r1", "of-s1", "main")
    assert [row.session_h for row in await reader.sessions_until(selection, one.position, 10)] == ["s0", "s1"]
    assert [row.session_h for row in await reader.sessions_after(selection, one.position, 1)] == ["s2"]
    assert await reader.contexts_of(["s1", "s2"]) == {"s1": contexts, "s2": contexts[:1]}


async def test_the_least_value_of_each_test_is_read(client: Any, reader: HistoryReader) -> None:
    """The least value of each test and session is read; missing measures are left out."""
    await send(client, "s0", 0)
    async with client.post("/metrics/", json=metric(session_h="s0", item="x", total_time=3.0)) as response:
        assert response.status == 201
    await client.post("/metrics/", json=metric(session_h="s0", item="x", total_time=2.0))
    blank = dict.fromkeys(("user_time", "kernel_time", "cpu_usage", "mem_usage"))
    async with client.post("/sessions/s1/metrics?offset=0", json=metric(session_h="s1", item="y") | blank) as response:
        assert response.status == 201
    found = await reader.values("total_time", ["s0", "s1"], ["c" * 32])
    assert (len(found["s0"]), len(found["s1"])) == (9, 1)
    names = {row["item_id"]: row["item"] for row in await reader.items(list(found["s0"]))}
    assert {names[ident]: value for ident, value in found["s0"].items()}["x"] == 2.0
    assert "s1" not in await reader.values("user_time", ["s1"], ["c" * 32])
    assert await reader.values("total_time", ["s0"], ["d" * 32]) == {}


async def test_the_load_of_a_session_is_read(client: Any, reader: HistoryReader) -> None:
    """The load reaches from the first test to the end of the last; absurd numbers do not overflow."""
    await send(client, "s0", 0, {"test_0": 60.0}, measures={"user_time": 1.0, "kernel_time": 0.5})
    (row,) = await reader.suite_loads(["s0"], ["c" * 32])
    assert 59.0 < (row["ended_at"] - row["started_at"]).total_seconds() < 62.0
    assert row["cpu_seconds"] == pytest.approx(12.0)
    absurd = metric(session_h="s0", total_time=1.7e308, user_time=1.7e308, kernel_time=-1.7e308)
    async with client.post("/metrics/", json=absurd) as response:
        assert response.status == 201
    (row,) = await reader.suite_loads(["s0"], ["c" * 32])
    assert row["cpu_seconds"] == pytest.approx(1e7 + 12.0)


async def test_names_are_found_by_their_beginning(client: Any, reader: HistoryReader) -> None:
    """The prefix is taken literally, and an equal name comes first."""
    for name in ("a%", "ab", "abc"):
        await send(client, name, 0, scm_ref=f"x{name}")
    assert await reader.sessions_by_prefix("ab", 5) == ["ab", "abc"]
    assert await reader.sessions_by_prefix("a%", 5) == ["a%"]
    assert await reader.commits_by_prefix("xa", 2) == ["xa%", "xab"]
    assert await reader.latest_of_commit("xab", 5) == ["ab"]
