"""`smartmob new-project` and `smartmob pack-turrets`: projects of load tests, as OCT has them."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import click

from smartmob.cli import output
from smartmob.errors import InvalidInput

_SCRIPT = "test_scripts/v_user.py"
_CONFIG: dict[str, Any] = {
    "run_time": 30,
    "results_ts_interval": 10,
    "progress_bar": True,
    "console_logging": False,
    "testing": False,
    "publish_port": 5000,
    "rc_port": 5001,
    "min_turrets": 1,
    "turrets": [{"name": "navigation", "cannons": 10, "rampup": 5, "script": _SCRIPT}],
    "turrets_requirements": [],
    "extra_turret_config": {},
}


@click.command("new-project", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option("--url", default="http://127.0.0.1:8080/health", show_default=True, help="What the script asks for.")
def new_project(folder: Path, url: str) -> None:
    """Make the folder NAME with a project: config.json and test_scripts/v_user.py, ready to be fired."""
    if folder.exists():
        raise InvalidInput(f"{folder} exists already; give a new name")
    script = (resources.files("smartmob.cli") / "project_template" / "v_user.py.txt").read_text(encoding="utf-8")
    config = json.loads(json.dumps(_CONFIG))
    config["turrets"][0]["url"] = url
    try:
        (folder / _SCRIPT).parent.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
        (folder / _SCRIPT).write_text(script, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {folder}: {error.strerror}") from None
    output.say(f"{folder} is there: {_SCRIPT} is what users do, config.json how many there are and for how long")


@click.command("pack-turrets", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--config-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Configuration to use, instead of config.json of the project.")  # fmt: skip
@click.option("--python", is_flag=True, help="Put a setup.py with `turrets_requirements` into each package.")
def pack_turrets(project: Path, config_file: Path | None, python: bool) -> None:
    """Make the package NAME.tar.gz of each turret in the folder of the project, for smartmob turret --tar."""
    from smartmob.turrets.turret import configuration, package

    source = config_file or project / package.CONFIG
    required = configuration.read(source).get("turrets_requirements", [])
    for turret in package.turrets(project, config_file):
        target = project / f"{_file_name(turret['name'])}.tar.gz"
        setup = _setup(turret["name"], required) if python else None
        names = package.pack(source.parent, turret, target, setup)
        output.say(f"{target}: {', '.join(names)}")


def _file_name(name: str) -> str:
    """Return the name of a turret if it can be that of a file."""
    if re.fullmatch(r"[^/\\\0]+", name) is None or name in (".", ".."):
        raise InvalidInput.at("$.turrets", f"{name!r} cannot be the name of a file")
    return name


def _setup(name: str, requirements: object) -> str:
    if not isinstance(requirements, list) or not all(isinstance(text, str) for text in requirements):
        raise InvalidInput.at("$.turrets_requirements", "must be a list of texts")
    return f"from setuptools import setup\n\nsetup(name={name!r}, version='1', install_requires={requirements!r})\n"
