"""Groups of commands: modules that are imported late, sections of the help, and wrong names."""

from __future__ import annotations

import sys
from importlib import import_module

import click
from click.testing import CliRunner

from smartmob.cli import main
from smartmob.cli import tests as suites
from smartmob.cli.command_group import CommandGroup
from tests.acceptance.commands import run


def test_each_lazy_command_is_listed_with_its_name() -> None:
    """The names of the list are those of the commands, and each summary is the beginning of the help."""
    for group in (main.group, suites.command):
        assert isinstance(group, CommandGroup)
        for name, (place, summary) in group.lazy.items():
            module, _, attribute = place.partition(":")
            found = getattr(import_module(module), attribute)
            assert isinstance(found, click.Command)
            assert found.name == name
            assert summary.endswith(".")


def test_the_help_has_sections_and_examples() -> None:
    """The commands stand below Tests, Programs, Machines, Commands, Load and Service, after examples."""
    output = CliRunner().invoke(main.group, ["--help"]).output
    places = [output.index(f"\n{title}:\n") for title in ("Tests", "Programs", "Machines", "Commands", "Load")]
    assert places == sorted(places)
    assert output.index("Examples:") < output.index("smartmob fire ./myload") < places[0]
    assert all(len(line) <= 80 for line in output.splitlines())


async def test_a_wrong_name_is_one_line_with_the_right_one() -> None:
    """Unknown commands and options name what was meant, in one line, and exit with 2."""
    for words, meant in (
        (("hots",), "did you mean hosts?"),
        (("tests", "hstory", "x"), "did you mean history?"),
        (("alerts", "rule"), "did you mean rules?"),
        (("hosts", "ls", "--jsn"), "--json"),
        (("serve", "--prot", "1"), "--port"),
        (("hosts", "ls", "-json"), "there is no option -j; did you mean --json? (see"),
        (("hosts", "ls", "-j"), "there is no option -j (see"),
        (("hosts", "ls", "--verbose"), "there is no option --verbose (see"),
        (("--server", "x", "ps"), "--server belongs after the command: write smartmob ps --server (see"),
        (("--json", "tests", "ls"), "--json belongs after the command: write smartmob tests ls --json (see"),
        (("--colour", "ps"), "there is no option --colour (see smartmob --help)"),
        (("jobs", "--state", "runing"), "'stopped'; did you mean running? (see"),
        (("jobs", "--state", "x"), "'stopped' (see"),
        (("db", "restore", "/nowhere/at/all", "x"), "got unexpected extra argument (x) (see"),
        (("bench", "--seconds", "soon"), "'soon' is not a valid number (see"),
        (("alerts", "silence", "x"), "say how long with --for"),
        (("qwxyz",), "there is no command qwxyz (see smartmob --help)"),
        (("hosts", "show"), "missing argument"),
    ):
        code, output, errors = await run(*words)
        assert (code, output, errors.count("\n")) == (2, "", 1), errors
        assert meant in errors


def test_no_option_denies_twice() -> None:
    """An option such as --no-restore has a positive form, and none is called --no-no-restore."""
    for name in main.group.list_commands(click.Context(main.group)):
        command = main.group.get_command(click.Context(main.group), name)
        assert command is not None
        for parameter in command.params:
            assert not [each for each in parameter.secondary_opts if each.startswith("--no-no-")]
    assert "smartmob.cli.serve" in sys.modules
