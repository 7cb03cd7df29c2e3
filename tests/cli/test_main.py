"""The command line as a whole."""

from __future__ import annotations

import importlib
import json

import click
import pytest
from click.testing import CliRunner

from smartmob.cli import main
from smartmob.errors import NotFound, RemoteError, SettingsError, SmartmobError, StartupError
from tests.acceptance.commands import run


def test_every_command_is_listed_with_what_it_does() -> None:
    """The list that is shown without loading anything agrees with the commands themselves."""
    output = CliRunner().invoke(main.group, ["--help"]).output
    context = click.Context(main.group)
    for name in main.group.list_commands(context):
        command = main.group.get_command(context, name)
        assert isinstance(command, click.Command)
        assert command.name == name
        assert f"  {name} " in output
        assert command.help


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), 1),
        (StartupError("x"), 1),
        (SmartmobError("x"), 1),
        (SettingsError("x"), 2),
        (RemoteError("x"), 3),
    ],
)
def test_exit_codes_are_1_2_and_3(error: SmartmobError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 failed, 2 wrong usage, 3 the server or the network."""

    def fail() -> None:
        raise error

    assert main._run(fail) == code


async def test_help_loads_no_service() -> None:
    """`--help` and completion are quick: they load neither aiohttp nor asyncpg."""
    program = "import sys; from smartmob.cli import main; main.group.list_commands(None); print(*sys.modules)"
    code, output, _ = await run("-c", program, program="python")
    assert code == 0
    assert not {"aiohttp", "asyncpg", "rich", "uvloop"} & set(output.split())


_PLAIN_COMMANDS = (
    *(("tests", "ls"), ("tests", "show", "x"), ("tests", "history", "x"), ("compare",), ("compare-runs", "1", "2")),
    *(("ps",), ("stop", "x"), ("hosts", "ls"), ("nodes", "ls"), ("jobs",), ("kill", "--help"), ("token", "ls")),
    *(("alerts", "ls"), ("mark", "x"), ("marks",), ("fire", "--help"), ("exec", "--help"), ("cp", "--help")),
    *(("run", "--help"), ("logs", "--help"), ("attach", "--help"), ("output", "--help"), ("report", "last")),
)
"""Commands that open no WebSocket, draw nothing and start no service, and the help of others."""

_IMPORTED = """
import json, sys
from smartmob.cli import main
output = sys.stdout
for words in json.loads(sys.argv[1]):
    sys.argv = ["smartmob", *words, *([] if words[-1] == "--help" else ["--server", "127.0.0.1:1"])]
    try:
        main.main()
    except SystemExit:
        print("imported", *sys.modules, file=output)
"""
"""Runs the commands one after the other, and tells after each what was imported so far."""


async def test_plain_commands_load_little() -> None:
    """Commands that only ask a service import neither a web framework nor a database, a template or a chart."""
    heavy = {"aiohttp", "numpy", "zmq", "asyncpg", "jinja2", "rich", "uvloop", "psutil", "cryptography", "structlog"}
    _, output, errors = await run("-c", _IMPORTED, json.dumps(_PLAIN_COMMANDS), program="python")
    imported = [set(line.split()) for line in output.splitlines() if line.startswith("imported ")]
    assert len(imported) == len(_PLAIN_COMMANDS), errors
    for words, modules in zip(_PLAIN_COMMANDS, imported, strict=True):
        assert not heavy & modules, words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_completion_script_of_each_shell_is_printed(shell: str) -> None:
    """The variable `_SMARTMOB_COMPLETE` makes the command print the script of each shell."""
    code, output, _ = await run(_SMARTMOB_COMPLETE=f"{shell}_source")
    assert (code, "smartmob" in output) == (0, True)


async def test_a_reader_that_has_seen_enough() -> None:
    """Output into a pipe that is closed is no error and no traceback."""
    program = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-m', 'smartmob', 'serve', '--help'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE); child.stdout.close();"
        " _, said = child.communicate(); print(child.returncode, said)"
    )
    _, output, _ = await run("-c", program, program="python")
    assert "Traceback" not in output


async def test_a_locale_without_a_character() -> None:
    """A character that the encoding of the output does not have becomes `?`, and the command goes on."""
    program = (
        "import os, sys; os.environ['PYTHONIOENCODING'] = 'latin-1'; "
        "os.execv(sys.executable, [sys.executable, '-c', 'import sys; from smartmob.cli import main; "
        "main._open_closed_streams(); print(chr(9607), sys.stdout.errors)'])"
    )
    assert await run("-c", program, program="python") == (0, "? replace\n", "")


_PRESSED_AT_THE_END = """
import atexit, os, signal, sys
from smartmob.cli import main
class Last:
    def __del__(self):
        os.kill(os.getpid(), number)  # when Python clears the modules, after its signal handlers
number, keep = signal.Signals[sys.argv.pop()], Last()
if sys.argv.pop() == "exit":
    atexit.register(os.kill, os.getpid(), number)
main.main()
"""


async def test_a_signal_at_the_end() -> None:
    """A command that has done its work ends with its own code, whenever CTRL-C or SIGTERM comes after that."""
    for moment in ("exit", "clearing"):
        for number in ("SIGINT", "SIGTERM"):
            code, output, errors = await run("-c", _PRESSED_AT_THE_END, "--version", moment, number, program="python")
            assert (code, output.startswith("smartmob"), errors) == (0, True, ""), (moment, number)


_COLLECTIONS = """
import atexit, gc
from smartmob.cli import main
found = []
gc.callbacks.append(lambda phase, _: found.append(phase) if phase == "start" else None)
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 1000))
main.group.get_command(None, "fire")
print("collections", len(found) <= 1, gc.isenabled())  # one is due after the imports
main.main()
"""


async def test_a_command_does_not_search_for_garbage_when_it_begins_and_ends() -> None:
    """No collection runs until its modules are imported, and the last ones of Python have nothing to look at."""
    code, output, errors = await run("-c", _COLLECTIONS, "--version", program="python")
    assert (code, errors) == (0, "")
    assert [*output.splitlines()[:1], *output.splitlines()[2:]] == ["collections True True", "frozen True"]


def test_every_command_module_is_listed() -> None:
    """A command module that is missing in the list cannot be called."""
    for place, _ in main._COMMANDS.values():
        module, _, name = place.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), click.Command)
