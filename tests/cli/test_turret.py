"""`smartmob turret`: what it takes, what it says, and how light it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from smartmob.cli.main import group
from smartmob.errors import InvalidInput
from tests.interop.children import clean_environment
from tests.turrets.turret.test_configuration import GIVEN


def _invoke(*arguments: str | Path) -> None:
    CliRunner().invoke(group, ["turret", *map(str, arguments)], standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("options", [[], ["--config-file", "a", "--tar", "b"]])
def test_a_turret_takes_either_a_configuration_or_a_package(options: list[str]) -> None:
    """Either a configuration or a package."""
    result = CliRunner().invoke(group, ["turret", *options])
    assert result.exit_code == 2
    assert "either --config-file or --tar" in result.output


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """The error names the file."""
    for option in ("--config-file", "--tar"):
        with pytest.raises(InvalidInput, match="absent"):
            _invoke(option, tmp_path / "absent")


def test_an_override_that_does_not_fit(tmp_path: Path) -> None:
    """Options stand above the file, and are checked like it."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GIVEN))
    with pytest.raises(InvalidInput, match=r"\$\.hq_rc"):
        _invoke("--config-file", path, "--hq-rc", "0")
    with pytest.raises(InvalidInput, match="absent"):
        _invoke("--config-file", path, "--hq-key-file", tmp_path / "absent")


def test_it_needs_nothing_of_the_service(tmp_path: Path) -> None:
    """Neither the web framework nor the database driver, nor what draws charts, is loaded."""
    code = (
        "import sys, smartmob.cli.turret, smartmob.turrets.turret.session, smartmob.turrets.turret.keys\n"
        "print(sorted({'aiohttp', 'asyncpg', 'smartmob.chart_library', 'jinja2', 'smartmob.app'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment(tmp_path)
    )
    assert done.stdout.strip() == "[]"
