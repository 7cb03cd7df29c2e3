"""Stored experiments, over HTTP."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from smartmob.experiments.model import ExperimentReport
from tests.experiments.reports import BEGIN, report, verdict

ABSENT = UUID(int=7)


async def store(client: Any, found: ExperimentReport) -> tuple[int, dict[str, Any]]:
    """Send a report; return the status and the document of the answer."""
    async with client.post("/experiments", data=msgspec.json.encode(found)) as response:
        return response.status, await response.json()


async def test_an_experiment_is_stored_once(client: Any) -> None:
    """A repeated submission changes nothing, another experiment with its id is refused, and it comes back whole."""
    found = report()
    status, summary = await store(client, found)
    assert (status, summary["id"], summary["verdict"]) == (201, str(found.id), "slower")
    assert await store(client, found) == (200, summary)
    status, problem = await store(client, msgspec.structs.replace(found, ended="another end"))
    assert (status, problem["detail"]) == (409, f"another experiment has the id {found.id}")
    async with client.get(f"/experiments/{found.id}/report") as response:
        assert msgspec.json.decode(await response.read(), type=ExperimentReport) == found
    async with client.get(f"/experiments/{found.id}") as response:
        details = await response.json()
    assert (details["summary"], details["notes"]) == (summary, ["a <note>"])
    async with client.get(f"/experiments/{found.id}/pairs", params={"test": "t.py::test_slower"}) as response:
        assert [round(pair["ratio"], 3) for pair in (await response.json())["pairs"]] == [1.4, 1.414, 1.428]
    await _check_tests(client, found)


async def _check_tests(client: Any, found: ExperimentReport) -> None:
    """The tests come as a page of JSON, and as CSV in which no name is a formula."""
    path = f"/experiments/{found.id}/tests"
    async with client.get(path, params={"verdict": "slower", "limit": 1}) as response:
        page = await response.json()
    assert ([test["name"] for test in page["tests"]], page["total"]) == (["t.py::test_slower"], 2)
    async with client.get(path, headers={"Accept": "text/csv"}) as response:
        rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [row["verdict"] for row in rows] == ["slower", "slower", "faster", "unfit", "undecided", "same"]
    assert (rows[1]["instructions_ratio"], rows[0]["memory_difference"]) == ("1.021", "2000000.0")


async def test_experiments_are_listed_newest_first_and_deleted(client: Any) -> None:
    """A list has pages and may be of one machine; a deleted experiment is not found again."""
    ids = []
    for number in range(3):
        found = report(verdict("a"), started_at=BEGIN + timedelta(minutes=number), machine={"name": f"m{number % 2}"})
        assert (await store(client, found))[0] == 201
        ids.insert(0, str(found.id))
    assert await _listed(client) == (ids, None)
    assert await _listed(client, machine="m1") == ([ids[1]], None)
    page, following = await _listed(client, limit=2)
    assert (page, await _listed(client, limit=2, before=following)) == (ids[:2], ([ids[2]], None))
    assert (await client.delete(f"/experiments/{ids[0]}")).status == 204
    assert await _listed(client) == (ids[1:], None)
    for path in ("", "/report", "/tests", "/pairs"):
        assert (await client.get(f"/experiments/{ids[0]}{path}")).status == 404
    assert (await client.delete(f"/experiments/{ids[0]}")).status == 404


async def _listed(client: Any, **query: Any) -> tuple[list[str], str | None]:
    async with client.get("/experiments", params=query) as response:
        page = await response.json()
        assert response.status == 200, page
        return [found["id"] for found in page["experiments"]], page["next"]


async def test_what_is_no_experiment_is_refused(client: Any) -> None:
    """The message names the field, and nothing is stored."""
    good = msgspec.to_builtins(report())
    wrong = {
        "$.id": good | {"id": "first"},
        "$.started_at": good | {"started_at": "2026-11-23T09:00:00"},
        "$.pairs": good | {"pairs": [good["pairs"][0] | {"ratios": {"other": 0.1}}]},
        "$.pairs[0].at": good | {"pairs": [good["pairs"][0] | {"at": -1}]},
        "$.tests[0].verdict": good | {"tests": [good["tests"][0] | {"verdict": "slow"}]},
        "$.tests[0].name": good | {"tests": [good["tests"][0] | {"name": "x" * 20_001}]},
        "$.machine[...]": good | {"machine": {"name": 2**64}},
        "$.seconds": good | {"seconds": 1e12},
    }

    for where, document in wrong.items():
        async with client.post("/experiments", data=msgspec.json.encode(document)) as response:
            problem = await response.json()
        assert response.status in (400, 422), where
        assert problem["errors"][0]["where"].startswith(where.partition("[...]")[0]), problem
    assert await _listed(client) == ([], None)
    assert (await client.get("/experiments/latest")).status == 400
    assert (await client.get("/experiments", params={"before": "x"})).status == 400
