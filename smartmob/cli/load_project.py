"""`smartmob new-project`, `try-script` and `pack-turrets`: projects of load tests, as OCT has them."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import click
from yarl import URL

from smartmob.cli import printing
from smartmob.cli.number_options import Number
from smartmob.counts import counted
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


LONGEST_RUN_SECONDS = 31 * 86_400
"""The most seconds that a run may fire, as the service has it."""


def _address(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return an address that a script can request."""
    try:
        url = URL(text)
        known = url.scheme in ("http", "https") and url.host and " " not in text
    except ValueError:
        known = None
    if not known:
        raise click.BadParameter(f"{text!r} is not an address such as http://127.0.0.1:8080/health")
    return text


@click.command("new-project", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option("--url", default="http://127.0.0.1:8080/health", show_default=True, callback=_address,
              help="URL that the script requests.")  # fmt: skip
@click.option("--run-time", type=Number(1, LONGEST_RUN_SECONDS), default=30, show_default=True, metavar="SECONDS",
              help="Duration of the load.")  # fmt: skip
def new_project(folder: Path, url: str, run_time: float) -> None:
    """Create the folder NAME with a project: config.json and test_scripts/v_user.py, ready to be fired."""
    if folder.exists():
        raise InvalidInput(f"{folder} exists already; give a new name")
    script = (resources.files("smartmob.cli") / "project_template" / "v_user.py.txt").read_text(encoding="utf-8")
    config = json.loads(json.dumps(_CONFIG))
    config["run_time"] = run_time
    config["turrets"][0] |= {"url": url, "rampup": min(5, run_time / 6)}
    try:
        (folder / _SCRIPT).parent.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
        (folder / _SCRIPT).write_text(script, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {folder}: {error.strerror}") from None
    printing.say(f"Wrote {folder}: {_SCRIPT} has the transactions, config.json the number of users and the run time")


@click.command("pack-turrets", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--config-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Configuration to use, instead of config.json of the project.")  # fmt: skip
@click.option("--python", is_flag=True, help="Put a setup.py with `turrets_requirements` into each package.")
def pack_turrets(project: Path, config_file: Path | None, python: bool) -> None:
    """Write the package NAME.tar.gz of each turret into the folder of the project, for smartmob turret --tar."""
    from smartmob.turrets.turret import configuration, package

    source = config_file or project / package.CONFIG
    required = configuration.read(source).get("turrets_requirements", [])
    for turret in package.turrets(project, config_file):
        target = project / f"{_file_name(turret['name'])}.tar.gz"
        setup = _setup(turret["name"], required) if python else None
        names = package.pack(source.parent, turret, target, setup)
        printing.say(f"{target}: {', '.join(names)}")


@click.command("try-script", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-n", "--times", type=click.IntRange(1, 1_000_000), default=1, show_default=True,
              help="Number of transactions.")  # fmt: skip
@click.option("--config-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Configuration of the turret or of the project, instead of the config.json nearby.")  # fmt: skip
def try_script(script: Path, times: int, config_file: Path | None) -> None:
    """Run the transactions of SCRIPT with one user on this machine, without a headquarters, and show their results.

    The script gets the configuration that its turret has in the project, if it is in one. An error is shown with its
    traceback, and makes the exit code 1. Scripts for OCT run unchanged.
    """
    from smartmob.turrets.turret import package
    from smartmob.turrets.turret.dry_run import dry_run
    from smartmob.turrets.turret.script import ScriptError, load

    config, context = package.for_script(script, config_file)
    done = []
    for one in dry_run(load(script), config, context, times):
        done.append(one)
        if one.trace:
            click.echo(one.trace, err=True)
    timers = sorted({name for one in done for name in one.timers})
    printing.print_table(
        script.name,
        ("#", ">Time", *(f">{name}" for name in timers), "Error"),
        (
            (
                number,
                printing.seconds(one.took),
                *(printing.seconds(one.timers.get(name)) for name in timers),
                one.error,
            )
            for number, one in enumerate(done, start=1)
        ),
    )
    failed = sum(1 for one in done if one.error)
    if failed:
        raise ScriptError(f"{failed} of {counted(len(done), 'transaction')} failed")


def _file_name(name: str) -> str:
    """Return the name of a turret if it is valid as the name of a file."""
    if re.fullmatch(r"[^/\\\0]+", name) is None or name in (".", ".."):
        raise InvalidInput.at("$.turrets", f"{name!r} cannot be the name of a file")
    return name


def _setup(name: str, requirements: object) -> str:
    if not isinstance(requirements, list) or not all(isinstance(text, str) for text in requirements):
        raise InvalidInput.at("$.turrets_requirements", "must be a list of texts")
    return f"from setuptools import setup\n\nsetup(name={name!r}, version='1', install_requires={requirements!r})\n"
