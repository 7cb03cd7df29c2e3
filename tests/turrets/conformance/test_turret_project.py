"""The files, variables and command line of a turret under check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.conformance.frame_rules import Configured
from smartmob.turrets.conformance.turret_project import PLACEHOLDERS, TurretProject
from smartmob.turrets.turret import package


def project(folder: Path, *command: str, script: Path | None = None) -> TurretProject:
    """Return a project with a command."""
    return TurretProject(folder, command, Configured("nav", 3, 1.0), "http://127.0.0.1:1/x", script)


def test_the_project_is_readable_for_turrets_of_both_kinds(tmp_path: Path) -> None:
    """The configuration and the package are those that turrets of OCT and of smartmob read; values are in variables."""
    command, variables = project(tmp_path, "turret").write((1, 2), "k" * 40)
    assert command == ["turret", str(tmp_path / "config.json")]
    assert set(variables) == set(PLACEHOLDERS.values())
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["cannons"], config["canons"], config["hq_publisher"], config["hq_rc"]) == (3, 3, 1, 2)
    assert config["hq_public_key"] == "k" * 40
    (tmp_path / "unpacked").mkdir()
    unpacked = package.from_tar(Path(variables["TURRET_TAR"]), tmp_path / "unpacked")
    assert unpacked.configuration.name == "nav"
    assert unpacked.script.is_file()


def test_each_placeholder_is_replaced(tmp_path: Path) -> None:
    """Each is replaced wherever it stands, and the configuration is added only where none is."""
    script = tmp_path / "load.lua"
    script.write_text("-- load")
    (tmp_path / "folder").mkdir()
    made = project(tmp_path / "folder", "lua", "{script}", "--at={hq_address}:{hq_rc}", "{other}", script=script)
    command, _ = made.write((1, 2))
    assert command == ["lua", str(tmp_path / "folder" / "load.lua"), "--at=127.0.0.1:2", "{other}"]
    with pytest.raises(InvalidInput, match="cannot write"):
        project(tmp_path / "absent", "turret").write((1, 2))
