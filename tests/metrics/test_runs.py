"""Test runs over HTTP: sessions of parallel workers are listed as one run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smartmob.app import build
from tests.conftest import running
from tests.each import each
from tests.metrics.samples import context, metric, session

BASE = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def _session(client: Any, name: str, second: float, node: str | None = "one", **changes: Any) -> None:
    """Store a session that began at a second after BASE, and a metric that was measured on `node`."""
    moment = BASE + timedelta(seconds=second)
    sent = session(name, run_date=moment.isoformat(), description=changes.pop("tags", {"branch": "main"}), **changes)
    assert (await client.post("/sessions/", json=sent)).status == 201
    if node is not None:
        assert (await client.post("/contexts/", json=context(node, machine_node=node))).status == 201
        measured = metric(session_h=name, context_h=node, item_start_time=moment.isoformat(), total_time=2.0)
        assert (await client.post("/metrics/", json=measured)).status == 201


async def _runs(client: Any, query: str = "") -> list[list[str]]:
    async with client.get(f"/api/v1/runs/{query}") as response:
        if response.status == 204:
            return []
        return [[row["session_h"] for row in run["sessions"]] for run in (await response.json())["runs"]]


async def test_parallel_workers_are_one_run(client: Any) -> None:
    """A run has the sessions and metrics of the controller and all workers."""
    await _session(client, "controller", 0, None)
    for worker in range(4):
        await _session(client, f"worker-{worker}", 1 + worker / 10)

    async with client.get("/api/v1/runs/") as response:
        (run,) = (await response.json())["runs"]

    assert (run["id"], run["metrics"], run["total_time"]) == ("controller", 4, 8.0)
    assert (run["nodes"], run["contexts"]) == (["one"], ["one"])
    assert run["started_at"] == "2026-03-01T12:00:00Z"
    assert run["ended_at"] == "2026-03-01T12:00:03.300000Z"
    assert run["tags"] == [{"name": "branch", "value": "main"}]


async def test_other_commits_machines_tags_and_times_are_other_runs(client: Any) -> None:
    """Runs are listed newest first."""
    await _session(client, "a", 0)
    await _session(client, "b", 1, scm_ref="another")
    await _session(client, "c", 2, "two")
    await _session(client, "d", 3, tags={"branch": "dev"})
    await _session(client, "e", 60)

    assert await _runs(client) == [["e"], ["d"], ["c"], ["b"], ["a"]]


async def test_the_tag_run_joins_sessions(client: Any) -> None:
    """The tag `run` joins sessions of any machine and time, and is the id of the run."""
    await _session(client, "a", 0, tags={"run": "night/7", "x": "1"})
    await _session(client, "b", 5000, "two", tags={"run": "night/7"})

    async with client.get("/api/v1/runs/night%2F7") as response:
        run = await response.json()

    assert (run["id"], run["nodes"], run["metrics"]) == ("night/7", ["one", "two"], 2)
    async with client.get("/api/v1/runs/night%2F7/metrics") as response:
        assert [row["session_h"] for row in (await response.json())["metrics"]] == ["a", "b"]


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_run_is_found_by_any_of_its_sessions(client: Any, name: str) -> None:
    """The id of a run is its first session, and each session finds it."""
    await _session(client, "a", 0)
    await _session(client, "b", 1)

    async with client.get(f"/api/v1/runs/{name}") as response:
        assert (await response.json())["id"] == "a"


async def test_an_unknown_run_is_not_found(client: Any) -> None:
    """An unknown run and its metrics answer 404."""
    assert (await client.get("/api/v1/runs/unknown")).status == 404
    assert (await client.get("/api/v1/runs/unknown/metrics")).status == 404


async def test_the_default_window_is_five_seconds(client: Any) -> None:
    """Each worker begins at most five seconds after the one before; a longer gap begins another run."""
    starts = {"a": 0.0, "b": 5.0, "c": 10.0, "d": 15.001, "e": 20.001, "f": 25.002}
    for name, second in starts.items():
        await _session(client, name, second)
    await _session(client, "x", 30.002, None)
    await _session(client, "y", 35.003, None)

    assert await _runs(client) == [["y"], ["f", "x"], ["d", "e"], ["a", "b", "c"]]


async def test_the_window_is_a_setting(settings: Any, with_settings: Any) -> None:
    """A longer window joins workers that start slowly."""
    from dataclasses import replace

    client = await with_settings(metrics=replace(settings.metrics, run_window=120.0))
    await _session(client, "a", 0)
    await _session(client, "b", 100)

    assert await _runs(client) == [["a", "b"]]


async def test_each_run_is_on_one_page_and_complete(client: Any) -> None:
    """Each run is on exactly one page, also if a page ends between its sessions."""
    expected = []
    for number in range(12):
        # Two machines take turns, so the sessions of different runs lie between each other.
        for worker in range(3):
            await _session(client, f"{number:02}-{worker}", number * 2.5 + worker, f"node-{number % 5}")
        expected.append([f"{number:02}-{worker}" for worker in range(3)])
    await _session(client, "tagged-1", 3, tags={"run": "T"})
    await _session(client, "tagged-2", 25, tags={"run": "T"})

    seen, path = [], "/api/v1/runs/?limit=3"
    while path:
        async with client.get(path) as response:
            if response.status == 204:
                break
            document = await response.json()
        seen += [[row["session_h"] for row in run["sessions"]] for run in document["runs"]]
        assert len(document["runs"]) <= 3
        path = document.get("next_url", "")

    assert sorted(seen) == sorted([*expected, ["tagged-1", "tagged-2"]])
    assert seen.index(["tagged-1", "tagged-2"]) == len(seen) - 3


@each("query", ["?limit=0", "?limit=x", "?before=nonsense", "?before=WyJhIiwgImIiXQ", "?before=W10"])
async def test_invalid_arguments_are_named(client: Any, query: str) -> None:
    """An invalid argument answers 400 with its name."""
    async with client.get(f"/api/v1/runs/{query}") as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["errors"][0]["where"]) == (400, query[1:].partition("=")[0])


async def test_absurd_durations_do_not_overflow(client: Any) -> None:
    """A run with huge durations at the end of the calendar is listed."""
    await client.post("/sessions/", json=session(run_date="9999-12-31T23:59:59"))
    absurd = metric(item_start_time="9999-12-31T23:59:59", total_time=1.7e308)
    await client.post("/metrics/", json=[absurd, absurd])

    assert await _runs(client) == [["5" * 32]]


async def test_an_empty_list_of_runs_is_204(client: Any) -> None:
    """Like the other listings, an empty list of runs answers 204."""
    assert (await client.get("/api/v1/runs/")).status == 204


async def test_runs_and_executions_of_a_span_are_found(settings: Any) -> None:
    """Runs that were active in the span come newest first, with the tests that began in it."""
    service = build(settings)
    async with running(service) as client:
        for name, second in (("early", 0), ("middle", 100), ("late", 200)):
            await _session(client, name, second)
        metrics = service.services.metrics
        span = (BASE + timedelta(seconds=101), BASE + timedelta(seconds=200))

        runs = await metrics.runs.between(*span, 10)
        assert [run.sessions[0].session_h for run in runs] == ["middle"]
        whole = await metrics.runs.between(BASE, BASE + timedelta(seconds=201), 2)
        assert [run.sessions[0].session_h for run in whole] == ["late", "middle"]

        hashes = ["early", "middle"]
        executed = await metrics.runs.executions(hashes, BASE + timedelta(seconds=1), BASE + timedelta(seconds=200), 10)
        assert [(execution.session_h, execution.total_time) for execution in executed] == [("middle", 2.0)]
        assert await metrics.runs.executions(hashes, BASE, span[1], 1) != executed
