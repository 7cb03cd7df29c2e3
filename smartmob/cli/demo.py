"""`smartmob demo`: a temporary service, a real test suite with the real plugin, and the result."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from importlib import resources
from pathlib import Path

import click
import platformdirs

from smartmob.cli import printing
from smartmob.cli import tests as tests_command
from smartmob.cli.temporary_service import trial
from smartmob.embedded_service import check_installed
from smartmob.environment import environment
from smartmob.errors import RemoteError

REQUIREMENTS = ("pytest==8.4.2", "pytest-monitor==1.6.6", "pytest-xdist==3.8.0")

_RUN_WINDOW_SECONDS = 120
"""The time within which the two parallel workers begin, also on a busy machine; its other run has another tag."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the service running at the end, until CTRL-C.")
def command(keep: bool) -> None:
    """Start a service, measure a small test suite with the unmodified pytest-monitor plugin, and show the result.

    Everything lives in a temporary folder and is gone afterwards; only the plugin's virtual environment is kept for
    the next time.
    """
    check_installed(embedded=True)
    python = _plugin_environment()
    with trial("demo", "--metrics-run-window", str(_RUN_WINDOW_SECONDS)) as service:
        url = service.url
        printing.say(f"The service answers at {url}")
        with resources.as_file(resources.files("smartmob.cli") / "demo_suite") as suite:
            shutil.copytree(suite, copy := service.folder / "suite")
        _run_suite(python, url, copy, "--tag", "how=plain")
        _run_suite(python, url, copy, "--tag", "how=parallel", "-n", "2")
        printing.say("")
        _show(url)
        printing.say(
            f"\nThat was the plugin as it is: pytest --remote-server {url} --no-db"
            "\nNext: `smartmob serve`, the same with your own suite, then `smartmob tests ls`."
            "\nIn a browser, while that service runs: http://127.0.0.1:8080"
        )
        if keep:
            printing.say(f"The service goes on at {url}; CTRL-C ends it.")
            service.process.wait()


def _plugin_environment() -> Path:
    """Return the Python of a virtual environment with the plugin, which the first call creates."""
    name = hashlib.sha256(repr((REQUIREMENTS, sys.version)).encode()).hexdigest()[:12]
    folder = Path(platformdirs.user_cache_path("smartmob")) / f"demo-{name}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        printing.say(f"Installing {', '.join(REQUIREMENTS)} into {folder} (the first time only)")
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS], check=False
        )
        if installed.returncode:
            raise RemoteError("the plugin could not be installed; the demo needs a package index")
        (folder / "complete").touch()
    return python


def _run_suite(python: Path, url: str, suite: Path, *options: str) -> None:
    subprocess.run(
        [
            *(python, "-m", "pytest", "--quiet", "--no-header", "-p", "no:cacheprovider"),
            *("--remote-server", url, "--no-db", *options),
        ],
        check=False,
        cwd=suite,
        stdout=sys.stderr,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def _show(url: str) -> None:
    for arguments in (("ls",), ("history", "test_insertion_sort")):
        tests_command.command([*arguments, "--server", url], prog_name="smartmob tests", standalone_mode=False)
