"""The turrets of OCT as they are on PyPI (oct-turrets 0.2.8) under our headquarters, with a real target."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.interop.oct_turrets import OLD_SCRIPT, oct_turret, package
from tests.interop.target import target
from tests.turrets.conftest import QUICK
from tests.turrets.runs import ask, get, post, results, until_over, until_state
from tests.turrets.scripted import where
from tests.waiting import until

RAMPUP_SECONDS = 2.0
"""A stop before all its users are there is more than a turret of OCT takes."""
PATIENT = replace(QUICK, lost_after=120.0, drain=120.0, wait=300.0)
"""Settings with which a turret on a busy machine is not lost."""

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]


@pytest.fixture(name="patient_lab")
async def _patient_lab(with_settings: Callable[..., Awaitable[Any]]) -> Any:
    return await with_settings(turrets=PATIENT)


async def _ports(lab: Any) -> tuple[int, int]:
    _, publish, rc = await where(lab)
    return publish, rc


async def _fired(lab: Any, python: Path, packed: Path, **config: Any) -> tuple[Any, Any, list[Any]]:
    """Return a run of one turret when it is over, its summary and its results."""
    run = await ask(lab, **config)
    async with oct_turret(python, packed, packed.parent):
        over = await until_over(lab, run["id"])
    return over, await get(lab, f"/turret-runs/{run['id']}/summary"), await results(lab, run["id"])


async def test_each_transaction_of_a_run_is_counted_once(patient_lab: Any, turret_python: Path, tmp_path: Path) -> None:
    """Every transaction that the target saw is in the figures, once, with its timer."""
    async with target() as place:
        packed = package(tmp_path, await _ports(patient_lab), place.url)
        over, summary, stored = await _fired(patient_lab, turret_python, packed, run_time=5.0, name="oct")
        hits = place.hits["/"]

    assert (over["state"], over["errors"], over["counters"]["malformed"]) == ("finished", 0, 0)
    assert hits > 0
    own, page = summary["timers"]["All transactions"], summary["timers"]["page"]
    assert len(stored) == own["count"] == page["count"] == summary["transactions"] == hits
    assert 0.01 <= own["min"] <= own["percentiles"]["50"] <= own["max"]
    (member,) = summary["turrets"]
    assert (member["name"], member["cannons"], member["script"], member["ours"]) == ("nav", 4, "v_user.py", False)


async def test_results_of_an_old_turret_are_counted(patient_lab: Any, old_turret_python: Path, tmp_path: Path) -> None:
    """One of 0.2.3, which says `canons` and passes results on under its name, fires and is counted like the others."""
    async with target() as place:
        packed = package(tmp_path, await _ports(patient_lab), place.url, OLD_SCRIPT, canons=3)
        over, summary, stored = await _fired(patient_lab, old_turret_python, packed, run_time=5.0)
        hits = place.hits["/"]

    assert (over["state"], over["errors"], over["counters"]["malformed"]) == ("finished", 0, 0)
    assert len(stored) == summary["transactions"] == summary["timers"]["page"]["count"]
    # It reads no more of its cannons once it was ordered to stop: what they had done by then stays with it, and nothing
    # that it sent is left out here.
    assert 0 < len(stored) <= hits
    assert (over["counters"]["stale"], over["counters"]["dropped"]) == (0, 0)
    assert {result["turret_name"] for result in stored} == {"nav"}
    (member,) = summary["turrets"]
    assert (member["name"], member["cannons"], member["ours"]) == ("nav", 3, False)


async def test_errors_of_a_script(patient_lab: Any, turret_python: Path, tmp_path: Path) -> None:
    """They are the errors of its results, with the text of the exception, and firing goes on."""
    packed = package(tmp_path, await _ports(patient_lab), "http://127.0.0.1:1/status")
    run = await ask(patient_lab, run_time=4.0)
    async with oct_turret(turret_python, packed, tmp_path):
        over = await until_over(patient_lab, run["id"])
    assert over["transactions"] == over["errors"] > 0
    summary = await get(patient_lab, f"/turret-runs/{run['id']}/summary")
    assert "Connection refused" in summary["error_texts"][0]["text"]


async def test_killed_and_started_again(
    with_settings: Callable[..., Awaitable[Any]], turret_python: Path, tmp_path: Path
) -> None:
    """One of two is killed while it fires and one is started in its place: it joins, and the loss is reported."""
    lab = await with_settings(turrets=replace(PATIENT, lost_after=6.0))
    async with target() as place:
        packed = package(tmp_path, await _ports(lab), place.url, cannons=2)
        run = await ask(lab, run_time=600, min_turrets=2)
        path = f"/turret-runs/{run['id']}"

        async def firing(wanted: int) -> bool:
            members = (await get(lab, path))["turrets"]
            return sum(1 for member in members if member["alive"] and member["status"] == "Running") == wanted

        async with (
            oct_turret(turret_python, packed, tmp_path),
            oct_turret(turret_python, packed, tmp_path) as second,
        ):
            await until(lambda: firing(2))
            await second.kill()
            async with oct_turret(turret_python, packed, tmp_path):
                await until(lambda: firing(2))
                await asyncio.sleep(RAMPUP_SECONDS)
                await post(lab, f"{path}/stop")
                over = await until_over(lab, run["id"])
        hits = place.hits["/"]

    assert (over["state"], len(over["turrets"])) == ("stopped", 3)
    # Transactions that the dead turret had begun are lost: at most one of each of its cannons, and what it had not
    # sent yet.
    assert hits - 200 < over["transactions"] <= hits
    summary = await get(lab, f"{path}/summary")
    assert summary["trust"]["verdict"] == "no"
    assert sum("It did not reconnect" in doubt["what"] for doubt in summary["trust"]["doubts"]) == 1


async def test_several_runs_have_their_own_results(patient_lab: Any, turret_python: Path, tmp_path: Path) -> None:
    """The same turret fires for one run after the other, one of them stopped, and each has its own results."""
    async with target() as place:
        packed = package(tmp_path, await _ports(patient_lab), place.url)
        counts = []
        async with oct_turret(turret_python, packed, tmp_path):
            for stopped in (False, True, False):
                run = await ask(patient_lab, run_time=600 if stopped else 4.0)
                if stopped:
                    await until_state(patient_lab, run["id"], "running")
                    await until(lambda: place.hits["/"] > sum(counts) + 10)
                    await asyncio.sleep(RAMPUP_SECONDS)
                    await post(patient_lab, f"/turret-runs/{run['id']}/stop")
                over = await until_over(patient_lab, run["id"])
                assert over["state"] == ("stopped" if stopped else "finished")
                counts.append(over["transactions"])
        assert min(counts) > 0
        assert sum(counts) == place.hits["/"]
