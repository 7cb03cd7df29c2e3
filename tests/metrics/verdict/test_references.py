"""The names of the base and the head of a comparison."""

from __future__ import annotations

from typing import Any

import pytest

from tests.each import each
from tests.metrics.suites import compare, describe, get, send


@pytest.fixture(name="lab")
async def _lab(client: Any) -> Any:
    """Return a client of a service with some runs."""
    await describe(client)
    await send(client, "a1" * 16, 0, scm_ref="c0ffee01")
    await send(client, "a2" * 16, 1, scm_ref="c0ffee02")
    await send(client, "b1" * 16, 2, scm_ref="decade", tags={"run": "night/7"})
    await send(client, "b2" * 16, 3, scm_ref="decade", tags={"run": "night/7"})
    await send(client, "f1" * 16, 4, scm_ref="feed")
    return client


@each(
    "name, kind, ident, sessions",
    [
        ("latest", "run", "f1" * 16, 1),
        ("latest~1", "run", "night/7", 2),
        ("latest~3", "run", "a1" * 16, 1),
        ("night/7", "run", "night/7", 2),
        ("run:night/7", "run", "night/7", 2),
        ("b1", "run", "night/7", 2),
        ("b1" * 16, "run", "night/7", 2),
        ("session:b1", "session", "b1" * 16, 1),
        ("run:a2a2", "run", "a2" * 16, 1),
        ("c0ffee01", "commit", "c0ffee01", 1),
        ("dec", "commit", "decade", 2),
        ("commit:fe", "commit", "feed", 1),
    ],
)
async def test_references_name_runs_sessions_and_commits(
    lab: Any, name: str, kind: str, ident: str, sessions: int
) -> None:
    """A reference is a name or its beginning, with or without its kind, or one of the latest runs."""
    other = "f1" * 16 if ident != "f1" * 16 and ident != "feed" else "c0ffee01"
    base = (await compare(lab, name, other))["base"]
    assert (base["name"], base["kind"], base["id"], len(base["sessions"])) == (name, kind, ident, sessions)
    assert (await compare(lab, other, name))["head"]["id"] == ident


async def test_the_last_two_runs_are_compared_by_default(lab: Any) -> None:
    """Without names the last run is compared with the one before."""
    found = await get(lab, "/api/v1/compare")
    assert (found["base"]["id"], found["head"]["id"]) == ("night/7", "f1" * 16)


@each(
    "name, status, detail",
    [
        ("nothing", 404, "there is no run, session or commit nothing"),
        ("session:nothing", 404, "there is no session nothing"),
        ("commit:nothing", 404, "there is no commit nothing"),
        ("run:nothing", 404, "there is no run nothing"),
        ("latest~7", 404, "4 runs with metrics"),
        ("latest~999", 400, "further back"),
        ("c0ffee", 400, "the beginning of several commits (c0ffee01, c0ffee02)"),
        ("session:a", 400, "the beginning of several sessions"),
        ("f", 400, "write commit:f or run:f"),
    ],
)
async def test_an_unknown_or_ambiguous_reference_is_refused(lab: Any, name: str, status: int, detail: str) -> None:
    """The error says what is wrong with the reference."""
    problem = await get(lab, "/api/v1/compare", status, base=name, head="latest")
    assert detail in problem["detail"]


async def test_a_run_is_not_compared_with_itself(lab: Any) -> None:
    """A head that has all sessions of the base answers 400."""
    problem = await get(lab, "/api/v1/compare", 400, base="feed", head="latest")
    assert problem["errors"][0]["where"] == "head"


async def test_the_latest_runs_are_those_with_metrics(lab: Any) -> None:
    """A session without metrics is not the latest run."""
    async with lab.post(
        "/sessions/",
        json={"session_h": "e" * 32, "run_date": "2026-11-02T00:00:00Z", "scm_ref": "x", "description": ""},
    ) as response:
        assert response.status == 201
    assert (await compare(lab, "latest~1", "latest"))["head"]["id"] == "f1" * 16
