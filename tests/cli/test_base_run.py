"""The usual base of a comparison."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from smartmob.cli.base_run import usual_base
from smartmob.client.http import RestClient
from tests.cli.hostile import Hostile


def _run(ident: str, commit: str, branch: str | None = None, metrics: int = 4) -> dict[str, Any]:
    tags = [] if branch is None else [{"name": "pipeline_branch", "value": branch}]
    return {"id": ident, "scm_ref": commit, "tags": tags, "metrics": metrics}


RUNS = [
    _run("r6", "c3", metrics=0),
    _run("r5", "c3", "main"),
    _run("r4", "c3", "main"),
    _run("r3", "c2", "feature"),
    _run("r2", "c1", "main", metrics=0),
    _run("r1", "c1", "main"),
    _run("r0", "", None),
]


@pytest.mark.parametrize(
    ("runs", "head", "base", "noted"),
    [
        (RUNS, "latest", "run:r1", False),
        (RUNS, "r5", "run:r1", False),
        (RUNS, "commit:c3", "run:r1", False),
        (RUNS, "r3", "latest~1", False),
        (RUNS, "r0", "latest~1", False),
        (RUNS[1:3], "latest", "latest~1", True),
        ([], "latest", "latest~1", False),
    ],
)
async def test_the_last_run_of_another_commit(runs: list[dict[str, Any]], head: str, base: str, noted: bool) -> None:
    """It is the last run of another commit on the branch of the head, or else the run before."""
    hostile = Hostile("", body=json.dumps({"runs": runs}).encode())
    async with TestServer(hostile.app()) as server, RestClient(str(server.make_url(""))) as rest:
        found, note = await usual_base(rest, head)
    assert (found, note is not None) == (base, noted)
