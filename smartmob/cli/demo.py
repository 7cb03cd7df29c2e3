"""`smartmob demo`: a temporary service with examples, its verdicts on them, and its console."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import subprocess
import sys
import venv
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import resources
from pathlib import Path

import click
import platformdirs

from smartmob.cli import compare, demo_data, import_load, import_results, printing, processes, run
from smartmob.cli import tests as tests_command
from smartmob.cli.temporary_service import trial
from smartmob.embedded_service import check_installed
from smartmob.environment import environment
from smartmob.errors import RemoteError, SmartmobError

REQUIREMENTS = ("pytest==8.4.2", "pytest-monitor==1.6.6", "pytest-xdist==3.8.0")

_RUN_WINDOW_SECONDS = 120
"""The time within which the two parallel workers begin, also on a busy machine; its other run has another tag."""


@click.command("demo")
@click.option("--no-open", is_flag=True, help="Do not open the console in a browser.")
@click.option("--once", is_flag=True, help="End after the summary instead of staying until CTRL-C.")
@click.option("--with-plugin", is_flag=True, help="Also measure a real suite with the pytest-monitor plugin.")
@click.option("--keep", is_flag=True, hidden=True, help="Stay until CTRL-C; this is the default.")
def command(no_open: bool, once: bool, with_plugin: bool, keep: bool) -> None:
    """Start a service with examples, show its verdicts on them, and open its console in a browser, until CTRL-C.

    The examples are a suite with a test that became slower, a run on a machine that was busy with other work, a program
    that crashes, and a load test whose target has a limit. All data is in a temporary folder, which is removed at the
    end. Only the plugin's virtual environment of --with-plugin is kept for the next time.
    """
    check_installed(embedded=True)
    python = _plugin_environment() if with_plugin else None
    printing.say("Starting a service in a temporary folder ...")
    with trial("demo", "--metrics-run-window", str(_RUN_WINDOW_SECONDS)) as service:
        printing.say(f"The service answers at {service.url}")
        _fill(service.url, service.folder)
        if python is not None:
            _measure(python, service.url, service.folder)
        printing.say(
            f"\nThe console: {service.url}"
            "\nNext: `smartmob serve`, your own suite with the plugin, then `smartmob tests ls`"
            "\n(http://127.0.0.1:8080 while that service runs)."
        )
        if not no_open and not once:
            webbrowser.open(service.url)
        if not once or keep:
            stay(service.process)


def stay(process: subprocess.Popen[bytes]) -> None:
    """Wait until CTRL-C or the end of the service."""
    with suppress(KeyboardInterrupt):
        printing.say("CTRL-C stops the demo and removes its data.")
        process.wait()


def _fill(url: str, folder: Path) -> None:
    """Send the examples to the service, and show its verdicts on them."""
    now = demo_data.present()
    asyncio.run(demo_data.send_samples(url, now))
    for number, (commit, _, report) in enumerate(demo_data.runs(now)):
        file = folder / f"run-{number}.xml"
        file.write_bytes(report)
        with _quiet():
            _call(import_results.command, str(file), "--scm-ref", commit, "--tag", "pipeline_branch=main", url=url)
    printing.say(f"\nA suite ran on {demo_data.MACHINE} for eight commits; {demo_data.SLOWER_TEST} became slower:")
    _call(tests_command.command, "ls", url=url)
    _call(compare.command, f"commit:{demo_data.LAST_GOOD_COMMIT}", "latest", url=url)
    printing.say("\nDuring one run something else kept the machine busy, so its times say nothing about the commit:")
    _call(compare.command, *(f"commit:{each}" for each in demo_data.BUSY_COMMITS), url=url)
    program = demo_data.crashing_program(folder)
    printing.say("\nAn application of two programs, of which one crashes:")
    with _quiet(), suppress(SmartmobError):
        _call(run.command, str(program), "--detach", url=url)
    _call(processes.ps, url=url)
    results = folder / "cart.jtl"
    results.write_text(demo_data.load_results(now))
    printing.say("\nA load test whose target answers slowly above 40 transactions per second:")
    _call(import_load.command, str(results), "--format", "jmeter-csv", "--name", "cart", url=url)


def _call(command: click.Command, *words: str, url: str) -> None:
    """Run another command as a person would type it."""
    command([*words, "--server", url], prog_name=f"smartmob {command.name}", standalone_mode=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard the messages of a command, but not its errors."""
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        yield


def _measure(python: Path, url: str, folder: Path) -> None:
    with resources.as_file(resources.files("smartmob.cli") / "demo_suite") as suite:
        shutil.copytree(suite, copy := folder / "suite")
    _run_suite(python, url, copy, "--tag", "how=plain")
    _run_suite(python, url, copy, "--tag", "how=parallel", "-n", "2")
    printing.say("")
    _call(tests_command.command, "ls", url=url)
    _call(tests_command.command, "history", "test_insertion_sort", url=url)
    printing.say(f"\nThat was the plugin as it is: pytest --remote-server {url} --no-db")


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
