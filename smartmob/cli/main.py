"""The command line: one group of commands, each loaded only when it is used."""

from __future__ import annotations

import atexit
import gc
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import click

from smartmob import __version__
from smartmob.cli.command_group import CommandGroup
from smartmob.errors import RemoteError, SettingsError, SmartmobError, message_of

GOOD, FAILED, USAGE, REMOTE = 0, 1, 2, 3
"""Exit codes: good, failed, wrong usage, an error of the server or of the network."""

_NOT_FOUND_STATUS = 404
"""The answer to an unknown name, which is no error of the server."""

_SECTIONS = {
    "Tests": {
        "tests": ("smartmob.cli.tests:command", "Results of test suites: list, show, import, export."),
        "ab": ("smartmob.cli.ab:command", "Measure two versions alternately, and show which tests became slower."),
        "bisect": ("smartmob.cli.bisect:command", "Find the commit that made a test slower or faster."),
        "experiments": ("smartmob.cli.experiments:command", "Stored results of the command ab: list, show, send."),
        "compare": ("smartmob.cli.compare:command", "Show which tests became slower, and which only vary as usual."),
    },
    "Programs": {
        "run": ("smartmob.cli.run:command", "Run a folder's program on the service and follow its output."),
        "ps": ("smartmob.cli.processes:ps", "List programs."),
        "logs": ("smartmob.cli.processes:logs", "Show the output of programs."),
        "attach": ("smartmob.cli.processes:attach", "Follow the output and the events of a program."),
        "restart": ("smartmob.cli.processes:restart", "Stop programs and start them again."),
        "stop": ("smartmob.cli.processes:stop", "Stop programs."),
    },
    "Machines": {
        "hosts": ("smartmob.cli.hosts:command", "Machines and their load: list, show, watch."),
        "join": ("smartmob.cli.join:command", "Make this machine a node of a service."),
        "nodes": ("smartmob.cli.nodes:command", "Machines that have joined: list, show, label, drain, remove."),
        "reserve": ("smartmob.cli.reserve:command", "Reserve a machine, so that it refuses work from other clients."),
        "release": ("smartmob.cli.reserve:release", "Release a machine that is reserved."),
        "reservations": ("smartmob.cli.reserve:reservations", "List the reserved machines."),
        "report-host": ("smartmob.cli.report_host:command", "Report the load of this machine to a service."),
    },
    "Commands": {
        "exec": ("smartmob.cli.commands:exec_command", "Run a command on machines."),
        "jobs": ("smartmob.cli.commands:jobs_command", "List the jobs of a service."),
        "output": ("smartmob.cli.commands:output_command", "Print the output of a job."),
        "kill": ("smartmob.cli.commands:kill_command", "End a job."),
        "cp": ("smartmob.cli.file_copies:cp_command", "Copy files to machines and back."),
    },
    "Load": {
        "fire": ("smartmob.cli.fire:fire", "Run a load test with the turrets of a headquarters."),
        "report": ("smartmob.cli.load_reports:report", "Write the report of a load test."),
        "compare-runs": (
            "smartmob.cli.compare_runs:command",
            "Compare load tests, timer by timer, with 95 % intervals.",
        ),
        "results-to-csv": ("smartmob.cli.load_reports:results_to_csv", "Write the results of a load test as CSV."),
        "import-results": ("smartmob.cli.import_load:command", "Import the results of JMeter, k6, Locust or Vegeta."),
        "rebuild-results": ("smartmob.cli.load_reports:rebuild_results", "Compute the summary of a load test again."),
        "new-project": ("smartmob.cli.load_project:new_project", "Create the project of a load test, with a script."),
        "har-to-project": (
            "smartmob.cli.har_project:command",
            "Make the project of a load test from a recording (HAR).",
        ),
        "try-script": (
            "smartmob.cli.load_project:try_script",
            "Try the script of a load test: one user, no headquarters.",
        ),
        "turret": ("smartmob.cli.turret:command", "Run a turret, which fires for a headquarters."),
        "keys": ("smartmob.cli.keys:command", "Keys that encrypt the messages of turrets and headquarters."),
        "pack-turrets": ("smartmob.cli.load_project:pack_turrets", "Make the packages of a project's turrets."),
        "check-turret": ("smartmob.cli.check_turret:command", "Check whether a program follows the turret protocol."),
    },
    "Service": {
        "serve": ("smartmob.cli.serve:command", "Run the service."),
        "demo": ("smartmob.cli.demo:command", "Show the service with examples, in the browser, until CTRL-C."),
        "doctor": ("smartmob.cli.doctor:command", "Check whether a service can run here, and say what to do."),
        "install-service": ("smartmob.cli.install_service:command", "Have systemd start the service or the agent."),
        "token": ("smartmob.cli.token:command", "Tokens with a role: add, list, revoke."),
        "audit": ("smartmob.cli.audit:command", "Show who has changed what, where and when."),
        "db": ("smartmob.cli.db:command", "Maintain the database: status, migrate, dump, restore, distribute."),
        "alerts": ("smartmob.cli.alerts:command", "Alerts: list, history, rules, receivers, silences."),
        "mark": ("smartmob.cli.timeline_marks:mark", "Put a mark on the timeline."),
        "marks": ("smartmob.cli.timeline_marks:marks", "List the marks on the timeline."),
        "bench": ("smartmob.cli.bench:command", "Measure the throughput of a service on this machine."),
    },
}
_COMMANDS = {name: entry for commands in _SECTIONS.values() for name, entry in commands.items()}


@click.group(cls=CommandGroup, lazy=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smartmob")
def group() -> None:
    """A performance lab in one service.

    \b
    Examples:
      smartmob demo                        show the console with example data
      smartmob serve                       run the service and its console
      smartmob tests ls                    the test runs that were sent to it
      smartmob compare                     the tests that became slower
      smartmob run ./myapp                 run a program on it
      smartmob exec uptime                 run a command on its machine
      smartmob fire ./myload               fire a load test

    Commands use the service of --server or SMARTMOB_SERVER, by default http://127.0.0.1:8080. Data goes to standard
    output, messages to standard error. Exit codes: 0 good, 1 failed, 2 wrong usage, 3 the server or the network.
    """


def _open_closed_streams() -> None:
    """Open standard streams that were closed, so that no other file gets their number.

    Input and output then fail, and an error message is lost, as with any program.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # it gets the lowest free number, which is this one
    sys.stdin = sys.stdin or io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w", closefd=False)))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a locale without a character costs that character, not the command


def main() -> None:
    """Run `smartmob`."""
    _open_closed_streams()
    if sys.argv[1:2] in (["serve"], ["report-host"], ["join"]):
        _hide_secrets()
    _end(_run(lambda: group(prog_name="smartmob", standalone_mode=False)))


def agent() -> None:
    """Run `smartmob-agent`, which is `smartmob serve`."""
    _hide_secrets()

    def serve() -> object:
        from smartmob.cli.serve import command

        return command(prog_name="smartmob-agent", standalone_mode=False)

    _end(_run(serve))


def _end(status: int) -> NoReturn:
    """End with a code that a further CTRL-C or SIGTERM cannot change: the command has done its work."""

    def at_once(*_: object) -> None:
        with suppress(Exception):
            sys.stdout.flush()
        os._exit(status)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, at_once)
            # When Python ends it would give signals with a handler their default action, which ends by the signal.
            atexit.register(signal.signal, number, signal.SIG_IGN)
    gc.freeze()  # Python collects garbage once more when it ends: a quarter of the time of a command, for nothing
    sys.exit(status)


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
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        _say(_usage_message(error))
        return USAGE
    except SmartmobError as error:
        # It may quote text from a server.
        _say(str(error))
        return exit_code_of(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has seen enough.
        sys.stdout = None
        return GOOD
    except OSError as error:
        sys.stdout = None  # what is buffered cannot be written either
        _say(message_of(error))
        return FAILED
    return result if isinstance(result, int) else GOOD


def _usage_message(error: click.ClickException) -> str:
    """Return the fault in the words of a command, and where to read more, in one line."""
    message = _wrong_words(error)
    if not message[1:2].isupper():  # SRC, COMMAND and the like are names of arguments
        message = message[:1].lower() + message[1:]
    context = error.ctx if isinstance(error, click.UsageError) else None
    return message if context is None else f"{message} (see {context.command_path} --help)"


def _wrong_words(error: click.ClickException) -> str:
    from smartmob.cli.suggestions import did_you_mean

    if isinstance(error, click.NoSuchOption):
        known = (
            []
            if error.ctx is None
            else [name for each in error.ctx.command.get_params(error.ctx) for name in each.opts]
        )
        # click reads -json as -j with a value.
        longer = [f"-{word}" for word in sys.argv if word.startswith(error.option_name) and f"-{word}" in known]
        if longer and not error.option_name.startswith("--"):
            return f"there is no option {error.option_name}; did you mean {longer[0]}?"
        return f"there is no option {error.option_name}{did_you_mean(error.option_name, known)}"
    # Brackets around an argument say that it may be left out, which is not what is wrong with it.
    message = _OPTIONAL.sub(r"\1", " ".join(error.format_message().split())).rstrip(".")
    if isinstance(error, click.BadParameter) and error.param is not None and isinstance(error.param.type, click.Choice):
        given = _QUOTED.search(error.message)
        message += did_you_mean(given[1], map(str, error.param.type.choices)) if given is not None else ""
    return message


_OPTIONAL = re.compile(r"\[(?:-- )?([A-Z|-]+)\](?:\.\.\.)?")
_QUOTED = re.compile(r"'([^']*)' is not one of")


def _say(text: str) -> None:
    from smartmob.cli.printing import say

    say(f"smartmob: {text}")


def exit_code_of(error: SmartmobError) -> int:
    """Return the exit code of a command that fails with an error."""
    if isinstance(error, RemoteError):
        return FAILED if error.status == _NOT_FOUND_STATUS else REMOTE
    return USAGE if isinstance(error, SettingsError) else FAILED
