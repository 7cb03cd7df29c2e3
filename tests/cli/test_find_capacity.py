"""`smartmob fire --find-capacity`: refusals before and at the first step; a whole search is an acceptance test."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from smartmob.turrets.protocol import PROTOCOL
from tests.acceptance.commands import QUICK_PROGRAMS, environment, run
from tests.turrets.conftest import Recruit, _lab, _recruit
from tests.turrets.messages import own_status
from tests.turrets.runs import get
from tests.turrets.scripted import OwnTurret
from tests.waiting import until

__all__ = ["_lab", "_recruit"]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Return a project."""
    folder = tmp_path / "project"
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text("pass\n")
    (folder / "config.json").write_text(json.dumps({"run_time": 1, "name": "night", "turrets": [], "own": {"a": 1}}))
    return folder


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--find-capacity", "p99"), "is not a condition"),
        (("--max-rate", "5"), "--max-rate needs --find-capacity"),
        (("--find-capacity", "p99<1s", "--no-wait"), "cannot be combined with --fail-if, --junit"),
        (("--find-capacity", "p99<1s", "--junit", "x.xml"), "cannot be combined with --fail-if, --junit"),
        (
            ("--find-capacity", "p99<1s", "--fail-if", "errors>1%"),
            "cannot be combined with --fail-if, --junit, --warm-up or --no-wait",
        ),
    ],
)
async def test_wrong_usage_is_refused_before_a_service_is_asked(
    project: Path, options: tuple[str, ...], reason: str
) -> None:
    """It is refused before a service is asked."""
    code, output, errors = await run("fire", project, *options, SMARTMOB_SERVER="http://127.0.0.1:1")
    assert (code, output) == (2, "")
    assert reason in errors


async def test_a_target_host_that_does_not_report(lab: Any, project: Path) -> None:
    """Nothing is fired, and the machines that report are named."""
    server = f"http://127.0.0.1:{lab.server.port}"
    options = ("--find-capacity", "p99<1s", "--target-host", "web1")
    code, _, errors = await run("fire", project, *options, SMARTMOB_SERVER=server)
    assert (code, "--target-host web1: no such machine reports to the service; there are:" in errors) == (2, True)
    assert (await get(lab, "/turret-runs"))["runs"] == []


async def test_ctrl_c_gives_the_result_so_far(lab: Any, recruit: Recruit, project: Path) -> None:
    """The run is stopped, the search is stored, and the exit code tells that it did not end by itself."""
    turret, ended = await recruit(lab, OwnTurret), await recruit(lab, OwnTurret, uuid="ended")
    turret.protocol = ended.protocol = PROTOCOL
    ended.status = "Aborted"
    await ended.send(own_status("Aborted", None, "ended", protocol=PROTOCOL))
    await until(lambda: _conditions(lab, "Aborted"))
    config = json.loads((project / "config.json").read_text()) | {"fail_if": ["errors>0"]}
    (project / "config.json").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        *(QUICK_PROGRAMS / "smartmob", "fire", project, "--find-capacity", "p99<1s", "--step-time", "600s", "--json"),
        env=environment(SMARTMOB_SERVER=f"http://127.0.0.1:{lab.server.port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await turret.until_told("start")
    process.send_signal(signal.SIGINT)
    output, errors = await process.communicate()
    found = json.loads(output)
    assert (process.returncode, found["steps"]) == (1, []), errors
    assert found["result"]["words"] == "no rate met p99<1s, errors<1%: stopped by request"
    assert b"the conditions of the project (fail_if) are not used" in errors
    (stored,) = (await get(lab, "/capacity-searches"))["searches"]
    assert stored["id"] == found["id"]
    (fired,) = (await get(lab, "/turret-runs"))["runs"]
    details = await get(lab, f"/turret-runs/{fired['id']}")
    assert details["min_turrets"] == 1, "a turret that has ended does not count"
    assert (details["config"]["fail_if"], details["config"]["warm_up"]) == ([], 2)


async def _conditions(lab: Any, wanted: str) -> bool:
    """Return whether a turret is in a condition."""
    return wanted in [turret["status"] for turret in (await get(lab, "/turrets"))["turrets"]]


async def test_the_time_of_a_search_covers_the_wait_for_turrets(lab: Any, project: Path) -> None:
    """It says how many turrets are missing, ends by itself with a line, and leaves no run that waits."""
    config = json.loads((project / "config.json").read_text()) | {"min_turrets": 2}
    (project / "config.json").write_text(json.dumps(config))
    code, output, errors = await run(
        *("fire", project, "--find-capacity", "p99<1s", "--max-time", "5s"),
        SMARTMOB_SERVER=f"http://127.0.0.1:{lab.server.port}",
    )
    missing = "waiting for turrets: 0 of 2 connected (smartmob turret --tar PACKAGE)"
    reason = f"--max-time is over, and the step was still {missing}"
    assert (code, errors.count(missing)) == (1, 2), errors
    assert f"smartmob: no rate met p99<1s, errors<1%: {reason}" in errors
    assert "Limit: unknown" in output
    assert [fired["state"] for fired in (await get(lab, "/turret-runs"))["runs"]] == ["stopped"]


async def test_a_turret_that_takes_no_rate(lab: Any, recruit: Recruit, project: Path) -> None:
    """A turret of OCT would fire a load of its own: the run fails before it fires, and so does the search."""
    turret = await recruit(lab)
    server = f"http://127.0.0.1:{lab.server.port}"
    code, _, errors = await run("fire", project, "--find-capacity", "p99<1s", SMARTMOB_SERVER=server)
    assert (code, "takes no rate from the headquarters: it is of OCT" in errors) == (1, True)
    assert "start" not in {order["command"] for order in turret.orders}
    (fired,) = (await get(lab, "/turret-runs"))["runs"]
    assert (fired["state"], fired["name"]) == ("failed", "night at 10/s")
