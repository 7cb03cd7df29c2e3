"""`smartmob new-project` and `smartmob pack-turrets`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smartmob.cli.main import group
from smartmob.errors import InvalidInput
from smartmob.turrets.turret import package, script


def _invoke(*arguments: str | Path) -> Result:
    runner = CliRunner()
    return runner.invoke(group, [str(word) for word in arguments], standalone_mode=False, catch_exceptions=False)


def test_a_new_project_can_be_packed_and_run(tmp_path: Path) -> None:
    """What it makes is complete: the package has a script that loads and a configuration that is understood."""
    project = tmp_path / "first"
    _invoke("new-project", project, "--url", "http://127.0.0.1:1/x")
    result = _invoke("pack-turrets", project)
    assert "navigation.tar.gz: config.json, test_scripts/v_user.py" in result.stderr.replace("\n", " ")
    made = package.from_tar(project / "navigation.tar.gz", tmp_path / "unpacked")
    assert (made.configuration.cannons, made.given["url"]) == (10, "http://127.0.0.1:1/x")
    assert script.load(made.script).asynchronous


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    with pytest.raises(InvalidInput, match="exists already"):
        _invoke("new-project", tmp_path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="file"):
        _invoke("new-project", tmp_path / "file" / "project")


def test_with_requirements(tmp_path: Path) -> None:
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
