"""`smartmob new-project`, `smartmob try-script` and `smartmob pack-turrets`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from smartmob.cli.main import group
from smartmob.errors import InvalidInput
from smartmob.turrets.turret import package, script
from smartmob.turrets.turret.http_client import HttpError


def _invoke(*arguments: str | Path) -> Result:
    runner = CliRunner()
    return runner.invoke(group, [str(word) for word in arguments], standalone_mode=False, catch_exceptions=False)


def test_a_new_project_can_be_packed_and_run(tmp_path: Path) -> None:
    """The new project is complete: its package has a script that loads and a valid configuration."""
    project = tmp_path / "first"
    _invoke("new-project", project, "--url", "http://127.0.0.1:1/x", "--run-time", "12")
    result = _invoke("pack-turrets", project)
    assert "navigation.tar.gz: config.json, test_scripts/v_user.py" in result.stderr.replace("\n", " ")
    made = package.from_tar(project / "navigation.tar.gz", tmp_path / "unpacked")
    assert (made.configuration.cannons, made.configuration.rampup) == (10, 2.0)
    assert made.given["url"] == "http://127.0.0.1:1/x"
    assert json.loads((project / "config.json").read_text())["run_time"] == 12
    assert script.load(made.script).asynchronous


async def test_a_refused_status_is_a_failure_of_the_timer_of_a_new_project(tmp_path: Path) -> None:
    """A condition such as page:errors>1% sees a target that answers 404, whose durations are those of no success."""
    await asyncio.to_thread(_invoke, "new-project", tmp_path / "first")
    async with TestServer(web.Application()) as server:
        users = script.load(tmp_path / "first" / "test_scripts" / "v_user.py")
        made = users.transaction({"url": str(server.make_url("/"))}, {})
        with pytest.raises(HttpError, match="404"):
            await made.run()
    assert list(made.failed_timers) == ["page"]


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    with pytest.raises(InvalidInput, match="exists already"):
        _invoke("new-project", tmp_path)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--url", text) for text in ("htp:/x", "localhost:8080", "http://", "http://a b/", "")]
    + [("--run-time", text) for text in ("nan", "inf", "0", "-1", "1e9", "30s")],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, option: str, value: str) -> None:
    """One line names the option, the exit code is 2, and no folder is made."""
    result = CliRunner().invoke(group, ["new-project", str(tmp_path / "new"), option, value])
    assert (result.exit_code, f"Invalid value for '{option}'" in result.stderr) == (2, True), result.output
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="file"):
        _invoke("new-project", tmp_path / "file" / "project")


def test_the_requirements_of_a_project_can_be_installed(tmp_path: Path) -> None:
    """With --python each package can be installed, with what the project requires."""
    project = tmp_path / "first"
    _invoke("new-project", project)
    config = json.loads((project / "config.json").read_text()) | {"turrets_requirements": ["requests"]}
    (project / "other.json").write_text(json.dumps(config))
    _invoke("pack-turrets", project, "--python", "--config-file", project / "other.json")
    package.unpack(project / "navigation.tar.gz", tmp_path / "unpacked")
    assert "install_requires=['requests']" in (tmp_path / "unpacked" / "setup.py").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"turrets": [{"name": "../x", "cannons": 1, "script": "test_scripts/v_user.py"}]}, "name of a file"),
        ({"turrets": []}, r"\$\.turrets"),
        ({"turrets_requirements": [1]}, "turrets_requirements"),
    ],
)
def test_projects_that_cannot_be_packed(change: dict[str, object], said: str, tmp_path: Path) -> None:
    """The error names the key."""
    project = tmp_path / "first"
    _invoke("new-project", project)
    config = json.loads((project / "config.json").read_text()) | change
    (project / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match=said):
        _invoke("pack-turrets", project, "--python")


_TRIED = """
from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer


class Transaction(BaseTransaction):
    def run(self):
        with CustomTimer(self, "page"):
            pass
        if "broken" in self.config:
            raise ValueError(self.config["broken"])


if __name__ == "__main__":
    raise AssertionError("a turret does not run what is for `python v_user.py`")
"""


class TestTryScript:
    """`smartmob try-script`."""

    def _project(self, folder: Path, **config: object) -> Path:
        project = folder / "shop"
        _invoke("new-project", project)
        document = json.loads((project / "config.json").read_text())
        document["turrets"][0] |= config
        (project / "config.json").write_text(json.dumps(document))
        (project / "test_scripts" / "v_user.py").write_text(_TRIED)
        return project / "test_scripts" / "v_user.py"

    def test_a_script_of_a_project(self, tmp_path: Path) -> None:
        """Each transaction is a line with its time and its timers; the block for Python itself is not run."""
        lines = _invoke("try-script", self._project(tmp_path), "--times", "2").stdout.splitlines()
        assert lines[1].split() == ["#", "Time", "page", "Error"]
        assert [line.split()[0] for line in lines[2:]] == ["1", "2"]

    def test_a_script_gets_the_configuration_of_its_turret(self, tmp_path: Path) -> None:
        """An error shows its place and makes the command fail."""
        script = self._project(tmp_path, broken="yes")
        result = CliRunner().invoke(group, ["try-script", str(script)], standalone_mode=False)
        assert str(result.exception) == "1 of 1 transaction failed"
        assert "v_user.py" in result.stderr
        assert "ValueError: yes" in result.stderr

    def test_another_configuration_must_have_a_turret_with_the_script(self, tmp_path: Path) -> None:
        """That of a turret, as it stands; one of a project must have a turret with the script."""
        script = self._project(tmp_path)
        (tmp_path / "turret.json").write_text(json.dumps({"broken": "so"}))
        result = CliRunner().invoke(
            group, ["try-script", str(script), "--config-file", str(tmp_path / "turret.json")], standalone_mode=False
        )
        assert "ValueError: so" in result.stderr
        (tmp_path / "other.py").write_text(_TRIED)
        with pytest.raises(InvalidInput, match="no turret with the script"):
            _invoke("try-script", tmp_path / "other.py", "--config-file", tmp_path / "shop" / "config.json")

    def test_a_script_needs_no_project(self, tmp_path: Path) -> None:
        """It needs no project."""
        (tmp_path / "deep" / "er").mkdir(parents=True)
        script = tmp_path / "deep" / "er" / "v_user.py"
        script.write_text(_TRIED)
        assert _invoke("try-script", script).stdout.startswith("v_user.py")
