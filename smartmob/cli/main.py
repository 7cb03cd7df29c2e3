"""The command line: one group of commands, each loaded only when it is used."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable

import click

from smartmob import __version__
from smartmob.errors import RemoteError, SettingsError, SmartmobError

GOOD, FAILED, USAGE, REMOTE = 0, 1, 2, 3
"""Exit codes: good, failed, wrong usage, an error of the server or of the network."""

_COMMANDS = {
    "serve": ("smartmob.cli.serve:command", "Run the service."),
    "join": ("smartmob.cli.join:command", "Make this machine a node of a service."),
    "install-service": ("smartmob.cli.install_service:command", "Have systemd start the service or the agent."),
    "exec": ("smartmob.cli.commands:exec_command", "Run a command on machines."),
    "jobs": ("smartmob.cli.commands:jobs_command", "List the jobs of a service."),
    "output": ("smartmob.cli.commands:output_command", "Print the output of a job."),
    "kill": ("smartmob.cli.commands:kill_command", "End a job."),
    "cp": ("smartmob.cli.file_copies:cp_command", "Copy files to machines and back."),
    "run": ("smartmob.cli.run:command", "Run a folder's program on the service and follow its output."),
    "ps": ("smartmob.cli.processes:ps", "List processes."),
    "logs": ("smartmob.cli.processes:logs", "Show what processes wrote."),
    "attach": ("smartmob.cli.processes:attach", "Follow one process and what happens to it."),
    "restart": ("smartmob.cli.processes:restart", "Stop processes and start them again."),
    "stop": ("smartmob.cli.processes:stop", "Stop processes."),
    "hosts": ("smartmob.cli.hosts:command", "Machines and their load: list, show, watch."),
    "nodes": ("smartmob.cli.nodes:command", "Machines that have joined: list, show, label, drain, remove."),
    "report-host": ("smartmob.cli.report_host:command", "Report the load of this machine to a service."),
    "keys": ("smartmob.cli.keys:command", "Keys that encrypt what turrets and their headquarters send."),
    "turret": ("smartmob.cli.turret:command", "Run a turret, which fires for a headquarters."),
    "new-project": ("smartmob.cli.load_project:new_project", "Create the project of a load test, with a script."),
    "har-to-project": ("smartmob.cli.har_project:command", "Make the project of a load test from a recording (HAR)."),
    "try-script": ("smartmob.cli.load_project:try_script", "Try the script of a load test: one user, no headquarters."),
    "pack-turrets": ("smartmob.cli.load_project:pack_turrets", "Make the packages of a project's turrets."),
    "check-turret": ("smartmob.cli.check_turret:command", "Check whether a program follows the turret protocol."),
    "fire": ("smartmob.cli.fire:fire", "Fire a load test by the turrets of a headquarters."),
    "report": ("smartmob.cli.fire:report", "Write the report of a load test."),
    "results-to-csv": ("smartmob.cli.fire:results_to_csv", "Write the results of a load test as CSV."),
    "compare-runs": ("smartmob.cli.compare_runs:command", "Compare load tests by repeated spans of seconds."),
    "import-results": ("smartmob.cli.import_load:command", "Import the results of JMeter, k6, Locust or Vegeta."),
    "rebuild-results": ("smartmob.cli.fire:rebuild_results", "Compute the summary of a load test again."),
    "mark": ("smartmob.cli.timeline_marks:mark", "Put a note on the timeline."),
    "marks": ("smartmob.cli.timeline_marks:marks", "List the notes on the timeline."),
    "alerts": ("smartmob.cli.alerts:command", "Alerts: list, history, rules, receivers, silences."),
    "tests": ("smartmob.cli.tests:command", "Results of test suites: list, show, import, export."),
    "compare": ("smartmob.cli.compare:command", "Show which tests became slower, and which only vary as usual."),
    "token": ("smartmob.cli.token:command", "Tokens with a role: add, list, revoke."),
    "doctor": ("smartmob.cli.doctor:command", "Check whether a service can run here, and tell what to do."),
    "db": ("smartmob.cli.db:command", "Maintain the database: status, migrate, dump, restore, vacuum."),
    "bench": ("smartmob.cli.bench:command", "Measure the throughput of a service on this machine."),
    "demo": ("smartmob.cli.demo:command", "Show the service with a real test suite, in under a minute."),
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is asked for, so that `--help` and completion are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smartmob")
def group() -> None:
    """A performance lab in one service.

    Data goes to standard output, messages to standard error. Exit codes: 0 good, 1 failed, 2 wrong usage, 3 the server
    or the network.
    """


def _open_closed_streams() -> None:
    """Open standard streams that were closed, so that no other file gets their number.

    Input is then empty, an error message is lost, and output fails, as with any program.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # it gets the lowest free number, which is this one
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w", closefd=False)))


def main() -> None:
    """Run `smartmob`."""
    _open_closed_streams()
    if sys.argv[1:2] in (["serve"], ["report-host"], ["join"]):
        _hide_secrets()
    sys.exit(_run(lambda: group(prog_name="smartmob", standalone_mode=False)))


def agent() -> None:
    """Run `smartmob-agent`, which is `smartmob serve`."""
    _hide_secrets()

    def serve() -> object:
        from smartmob.cli.serve import command

        return command(prog_name="smartmob-agent", standalone_mode=False)

    sys.exit(_run(serve))


def _hide_secrets() -> None:
    """Remove the secrets of a long-running command from the environment, which other programs can read."""
    from smartmob.environment import hide_secrets

    hide_secrets()


def _run(call: Callable[[], object]) -> int:
    """Run a command, and return its exit code; an error is one line on standard error."""
    try:
        result = call()
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return USAGE
    except SmartmobError as error:
        # It may quote what a server has said.
        click.echo(f"smartmob: {_printable(str(error))}", err=True)
        return _code(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has seen enough.
        sys.stdout = None
        return GOOD
    except OSError as error:
        sys.stdout = None  # what is buffered cannot be written either
        click.echo(f"smartmob: {_printable(str(error))}", err=True)
        return FAILED
    return result if isinstance(result, int) else GOOD


def _printable(text: str) -> str:
    from smartmob.cli.printing import printable

    return printable(text)


def _code(error: SmartmobError) -> int:
    return REMOTE if isinstance(error, RemoteError) else USAGE if isinstance(error, SettingsError) else FAILED
