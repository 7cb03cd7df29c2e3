"""`smartmob tests rm` and `smartmob tests retag`: the real commands against a running service."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.metrics.samples import context, metric, session

pytestmark = pytest.mark.timeout(900)

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture(name="tests")
async def _tests(client: Any, smartmob: Command) -> Command:
    """Return the caller of `smartmob tests` with a service that has a run of two sessions and one of one session."""
    await client.post("/contexts/", json=context())
    for h, tags in ((A, {"run": "one"}), (B, {"run": "one"}), (C, {"run": "two", "old": "x"})):
        await client.post("/sessions/", json=session(h, description=tags))
        await client.post("/metrics/", json=metric(session_h=h))
    return partial(smartmob, "tests")


async def _runs(client: Any) -> dict[str, Any]:
    async with client.get("/runs/") as response:
        return {run["id"]: run for run in (await response.json())["runs"]} if response.status == 200 else {}


async def test_a_run_is_removed_with_all_its_sessions(client: Any, tests: Any) -> None:
    """Without --yes and without a terminal nothing is removed; an unknown name is exit code 1."""
    code, _, errors = await tests("rm", "one")
    assert (code, "2 sessions with 2 metrics: confirm it with --yes" in errors) == (1, True)
    assert (await tests("rm", "nothing", "--yes"))[0] == 1
    assert len(await _runs(client)) == 2

    code, _, errors = await tests("rm", "one", "--yes")

    assert (code, errors) == (0, "2 sessions with 2 metrics removed\n")
    assert list(await _runs(client)) == ["two"]


async def test_one_session_and_metrics_without_a_session_are_removed(client: Any, tests: Any) -> None:
    """The beginning of the hash of a session that is a part of a run means this session."""
    await client.post("/metrics/", json=metric(session_h="orphan"))

    assert (await tests("rm", "bbb", "orphan", "--yes"))[0] == 0

    found = await _runs(client)
    assert {name: [row["session_h"] for row in run["sessions"]] for name, run in found.items()} == {
        "one": [A],
        "two": [C],
    }
    async with client.get("/metrics/count") as response:
        assert (await response.json())["count"] == 2


async def test_tags_and_the_commit_of_a_run_are_changed(client: Any, tests: Any) -> None:
    """In all its sessions; a tag `run` moves them to another run."""
    code, _, errors = await tests(
        "retag", "one", "--tag", "run=two", "--tag", "new=1", "--scm-ref", "feed", "--remove", "x"
    )
    assert (code, errors) == (0, "2 sessions changed; they are now in the run two\n")

    (found,) = (await _runs(client)).values()
    assert len(found["sessions"]) == 3
    async with client.get(f"/sessions/{A}") as response:
        (stored,) = (await response.json())["sessions"]
    assert (stored["scm_ref"], {tag["name"]: tag["value"] for tag in stored["tags"]}) == (
        "feed", {"run": "two", "new": "1"}
    )  # fmt: skip
    assert (await tests("retag", C, "--remove", "run", "--remove", "old"))[0] == 0
    assert set(await _runs(client)) == {"two", C}


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "nothing to change"), (("--tag", "a=1", "--remove", "a"), "set and removed"), (("--tag", "x"), "NAME=VALUE")],
)
async def test_a_change_without_values_is_refused(tests: Any, options: tuple[str, ...], said: str) -> None:
    """The message names what is missing."""
    code, _, errors = await tests("retag", "one", *options)
    assert (code, said in errors) == (1, True)
