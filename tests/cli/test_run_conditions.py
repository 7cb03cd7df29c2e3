"""Conditions of a project: read, added to, shown, written as JUnit, and a run that one of them stops."""

from __future__ import annotations

import asyncio
import json
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import junitparser
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.cli import run_conditions
from smartmob.cli.project_package import pack_project
from smartmob.errors import SettingsError
from tests.acceptance.commands import environment, run
from tests.turrets.conftest import Recruit, _lab, _recruit
from tests.turrets.runs import get
from tests.turrets.scripted import where

__all__ = ["_lab", "_recruit"]

pytestmark = pytest.mark.timeout(900)

SCRIPT = """
from smartmob.turrets.scripting import BaseTransaction, CustomTimer, Http

class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super().__init__(config, context)
        self.http = Http(timeout=60)

    async def run(self):
        with CustomTimer(self, "page"):
            (await self.http.get(self.config["url"])).expect(200)
"""


def _project(folder: Path, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "v_user.py").write_text(SCRIPT)
    (folder / "config.json").write_text(json.dumps({"run_time": 1, "name": "night", "turrets": []} | config))
    return folder


class TestReading:
    """The conditions of a package and of the command line."""

    def test_both_sources_count(self, tmp_path: Path) -> None:
        """Those of the command line come after those of the project, which may be texts or objects."""
        given = ["p99>1s", {"condition": "errors>5%", "abort": True, "abort_after": 0.5}]
        package = pack_project(_project(tmp_path / "p", fail_if=given))
        found = run_conditions.read(package, ("p99>2s",))
        assert not run_conditions.read(package, ("p99>1s",)).added
        told = [(each.threshold.text, each.abort, each.abort_after) for each in found.all]
        assert told == [("p99>1s", False, 0.0), ("errors>5%", True, 0.5), ("p99>2s", False, 0.0)]

    def test_the_package_has_the_added_conditions(self, tmp_path: Path) -> None:
        """The headquarters evaluates them, too; everything else in the package stays."""
        package = pack_project(_project(tmp_path / "p", fail_if=["p99>1s"], further=[1]))
        assert run_conditions.read(package, ()).packed(package) == package
        packed = run_conditions.read(package, ("errors>1%",)).packed(package)
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            assert archive.getnames() == ["config.json", "v_user.py"]
            config, script = (archive.extractfile(name) for name in archive.getnames())
            assert config is not None
            assert script is not None
            assert json.load(config)["fail_if"] == ["p99>1s", "errors>1%"]
            assert script.read().decode() == SCRIPT

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (["p97>1s"], r"^config.json: fail_if 'p97>1s': percentiles are"),
            (["p99>1s", "p99>2s"], r"^config.json: fail_if 'p99>2s' repeats 'p99>1s'"),
            ("p99>1s", r"^config.json: Expected `array`.*\$.fail_if.*; write texts, or objects with condition"),
            ([{"threshold": "p99>1s"}], r"^config.json: .*\$.fail_if\[0\]"),
            ([{"condition": "p99>1s", "abortOnFail": True}], r"^config.json: .*abortOnFail.*\$.fail_if\[0\]"),
            ([{"condition": "p99>1s", "abort": True, "abort_after": -1}], r"^config.json: .*abort_after"),
            (
                [{"condition": "p99>1s", "abort": True, "abort_after": 1}],
                r"'p99>1s' cannot abort a run of 1 s before 1 s",
            ),
            ([{"condition": "rate<5", "abort": True}], r"'rate<5' cannot abort a run of 1 s before 15 s"),
        ],
    )
    def test_a_wrong_condition_is_named(self, tmp_path: Path, wrong: Any, said: str) -> None:
        """One line names the file and the condition."""
        with pytest.raises(SettingsError, match=said) as found:
            run_conditions.read(pack_project(_project(tmp_path / "p", fail_if=wrong)), ())
        assert "\n" not in str(found.value)

    def test_a_key_that_is_given_twice_is_refused(self, tmp_path: Path) -> None:
        """Readers of JSON keep the last one and forget the other conditions."""
        config = tmp_path / "config.json"
        config.write_text('{"run_time": 1, "fail_if": ["p99>1s"], "fail_if": ["errors>1%"]}')
        with pytest.raises(SettingsError, match="fail_if is there twice"):
            run_conditions.read(pack_project(tmp_path), ())


def _row(state: str, text: str = "told", **further: Any) -> dict[str, Any]:
    return {"condition": "p99>1s", "state": state, "text": text, "samples": 5, "aborted": False} | further


class TestJunit:
    """The conditions as JUnit XML, read by another reader."""

    @staticmethod
    def _cases(state: str, *rows: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
        summary = {"name": "n", "id": "r", "duration": 1.0, "state": state, "reason": None, "conditions": rows}
        (suite,) = junitparser.JUnitXml.fromstring(run_conditions.junit(summary).encode())
        assert suite.tests == len(list(suite))
        return [(case.classname, case.name, [type(each).__name__ for each in case.result]) for case in suite]

    def test_each_condition_is_a_case(self) -> None:
        """One that is met is a failure; control characters cannot break the file."""
        rows = (_row("passed"), _row("failed", "p99\x1b[31m 2 s"))
        assert self._cases("finished", *rows) == [
            ("conditions", "p99>1s", []),
            ("conditions", "p99>1s", ["Failure"]),
        ]

    def test_a_run_that_did_not_finish_is_no_success(self) -> None:
        """It is an error of its own unless a condition failed; without conditions the run is the only case."""
        assert self._cases("stopped", _row("passed"))[1:] == [("run", "the run finishes", ["Error"])]
        assert len(self._cases("stopped", _row("failed", aborted=True))) == 1
        assert self._cases("finished") == [("run", "the run finishes", [])]


class Target:
    """A target that counts what it served, and fails from the event `broken` on."""

    def __init__(self) -> None:
        self.good = self.bad = 0
        self.broken = asyncio.Event()
        self.served = asyncio.Event()
        self.url = ""

    async def answer(self, _: web.Request) -> web.Response:
        """Serve a request."""
        if self.broken.is_set():
            self.bad += 1
            return web.Response(status=503)
        self.good += 1
        if self.good >= 20:
            self.served.set()
        return web.Response(text="hello")


@asynccontextmanager
async def _target() -> AsyncIterator[Target]:
    place, app = Target(), web.Application()
    app.router.add_get("/", place.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        place.url = f"http://127.0.0.1:{server.port}/"
        yield place


async def test_a_condition_stops_the_run_when_the_target_fails(lab: Any, tmp_path: Path) -> None:
    """The run ends early with all its results, and summary, report, terminal, JUnit and exit code tell why."""
    _, orders, rc = await where(lab)
    condition = "errors>20%"
    async with _target() as place:
        turret = {"name": "nav", "script": "v_user.py", "cannons": 20, "rate": 100, "url": place.url, "grace": 60}
        limits = [{"condition": condition, "abort": True, "abort_after": 1}, "page:p99>60s"]
        project = _project(tmp_path / "p", run_time=900, turrets=[turret], fail_if=limits)
        file = project / "nav.json"
        file.write_text(json.dumps(turret | {"hq_address": "127.0.0.1", "hq_publisher": orders, "hq_rc": rc}))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "smartmob", "turret", "--config-file", file),
            env=environment(),
            stderr=asyncio.subprocess.DEVNULL,
        )
        junit, page = tmp_path / "junit.xml", tmp_path / "report.html"
        try:
            arguments = ("fire", project, "--fail-if", "count<1", "--junit", junit, "-o", page)
            firing = asyncio.create_task(run(*arguments, SMARTMOB_SERVER=f"http://127.0.0.1:{lab.server.port}"))
            await place.served.wait()
            place.broken.set()
            code, output, errors = await firing
        finally:
            process.kill()
            await process.wait()
    (found,) = (await get(lab, "/turret-runs"))["runs"]
    summary = await get(lab, f"/turret-runs/{found['id']}/summary")

    assert (code, summary["state"]) == (1, "stopped"), errors
    assert summary["reason"].startswith(f"aborted by the condition {condition}: errors ")
    assert f"the run is stopped: aborted by the condition {condition}: errors " in errors
    assert (summary["transactions"], summary["errors"]) == (place.good + place.bad, place.bad)
    rows = {row["condition"]: row for row in summary["conditions"]}
    assert list(rows) == [condition, "page:p99>60s", "count<1"]
    assert [(row["state"], row["aborted"]) for row in rows.values()] == [
        ("failed", True),
        ("passed", False),
        ("passed", False),
    ]
    assert rows[condition]["value"] == pytest.approx(place.bad / (place.good + place.bad))
    assert "Conditions" in output
    assert "beyond" in output
    assert "failed, stopped the run" in page.read_text(encoding="utf-8")
    (suite,) = junitparser.JUnitXml.fromfile(str(junit))
    assert (suite.tests, suite.failures) == (3, 1)


async def test_a_turret_of_oct_is_judged_by_the_conditions_of_the_project(
    lab: Any, recruit: Recruit, tmp_path: Path
) -> None:
    """It gets the same orders as without conditions, its results are judged, and the run ends by itself."""
    turret = await recruit(lab)

    async def shoot() -> None:
        await turret.until_told("start")
        await turret.fire(*({"scriptrun_time": 0.1} for _ in range(9)), {"scriptrun_time": 0.4, "error": "boom"})

    shooting = asyncio.create_task(shoot())
    limits = ["p50>1s", {"condition": "errors>50%", "abort": True}]
    project = _project(tmp_path / "p", fail_if=limits)
    code, output, errors = await run("fire", project, "--json", SMARTMOB_SERVER=f"http://127.0.0.1:{lab.server.port}")
    await shooting
    assert code == 0, errors
    told = [(row["state"], row["samples"]) for row in json.loads(output)["conditions"]]
    assert told == [("passed", 9), ("passed", 10)]
    assert {order["command"] for order in turret.orders} <= {"status_request", "start", "stop"}


async def test_a_wrong_condition_is_refused_before_firing(lab: Any, tmp_path: Path) -> None:
    """The command says so, and the service does for clients without it."""
    address = f"http://127.0.0.1:{lab.server.port}"
    project = _project(tmp_path / "p", fail_if=["p97>1s"])
    code, _, errors = await run("fire", project, SMARTMOB_SERVER=address)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "config.json: fail_if 'p97>1s': percentiles are" in errors
    async with lab.post("/turret-runs", json={"run_time": 1, "fail_if": ["p97>1s"]}) as response:
        assert response.status == 400
        assert "$.fail_if: 'p97>1s': percentiles are" in await response.text()
    assert (await get(lab, "/turret-runs"))["runs"] == []
