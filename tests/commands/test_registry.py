"""The commands of a service: names, parameters and documentation of functions, and modules of a user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from smartmob.commands import registry
from smartmob.commands.builtin import COMMANDS
from smartmob.commands.registry import ExecutionMode, Registry, background_command, command
from smartmob.errors import InvalidInput, NotFound, SettingsError


@command
def mix(call: Any, number: int, data: bytes = b"", *, names: list[str] | None = None) -> int:
    """Mix things.

    With care.
    """
    return 0


@command(inline=True)
def now(call: Any) -> int:
    """Return the time."""
    return 0


@command(name="open_ended")
async def anything(call: Any, *args: Any, **kwargs: Any) -> int:
    """Take anything."""
    return 0


@background_command
def watch(call: Any, queue: Any, path: str, every: float = 1.5) -> int:
    """Watch a path."""
    return 0


@pytest.fixture(name="known")
def _known() -> Registry:
    """Return a registry of the commands above."""
    return Registry([mix, now, anything, watch])


def test_a_command_is_described_by_its_function(known: Registry) -> None:
    """Name, execution mode, parameters and documentation come from the function alone."""
    assert known.names() == ["mix", "now", "open_ended", "watch"]
    assert [one.mode for one in known] == [
        ExecutionMode.THREAD,
        ExecutionMode.INLINE,
        ExecutionMode.LOOP,
        ExecutionMode.THREAD,
    ]
    description = known.find("mix").description
    assert (description.summary, description.background) == ("Mix things.", False)
    assert [(p.name, p.required, p.type, p.default) for p in description.parameters] == [
        ("number", True, "int", None),
        ("data", False, "bytes", b""),
        ("names", False, "list[str] | None", None),
    ]
    assert [p.name for p in known.find("watch").description.parameters] == ["path", "every"]
    with pytest.raises(NotFound, match="no command nothing"):
        known.find("nothing")


@pytest.mark.parametrize(
    ("args", "kwargs", "native", "bound"),
    [
        ((1,), {}, True, {"number": 1}),
        ((1, b"x"), {"names": ["a"]}, True, {"number": 1, "data": b"x", "names": ["a"]}),
        ((), {"number": 1, "data": "eHg="}, False, {"number": 1, "data": b"xx"}),
    ],
)
def test_arguments_are_bound_by_position_and_by_name(
    known: Registry, args: Any, kwargs: Any, native: bool, bound: Any
) -> None:
    """In JSON values, bytes are base64."""
    assert known.find("mix").bind(args, kwargs, native=native) == bound


@pytest.mark.parametrize(
    ("args", "kwargs", "native", "message"),
    [
        ((), {}, True, "number: mix needs this"),
        (("x",), {}, True, "Expected `int`, got `str` - at `\\$.number`"),
        ((1, "text"), {}, True, "Expected `bytes`, got `str`"),
        ((1, b"", []), {}, True, "takes 2 arguments"),
        ((1,), {"number": 2}, True, "number: mix got this argument twice"),
        ((1,), {"colour": 2}, True, "colour: mix has no such"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    known: Registry, args: Any, kwargs: Any, native: bool, message: str
) -> None:
    """The refusal names the parameter and says what is wrong."""
    with pytest.raises(InvalidInput, match=message):
        known.find("mix").bind(args, kwargs, native=native)


def test_variadic_functions_get_all_arguments(known: Registry) -> None:
    """The arguments of a function with *args or **kwargs are not checked."""
    assert known.find("open_ended").bind((), {"a": 1}, native=True) == {"a": 1}


def test_a_later_command_replaces_an_earlier_one(known: Registry) -> None:
    """A module of a user may replace a built-in command."""

    @command(name="now")
    def other(call: Any) -> int:
        """Return something else."""
        return 0

    known.add(other)
    assert known.find("now").description.summary == "Return something else."


class TestModules:
    """The modules that `--commands` names."""

    @pytest.fixture(name="write")
    def _write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Return the writer of modules that can be imported in this test only."""
        monkeypatch.syspath_prepend(tmp_path)

        def write(name: str, text: str) -> str:
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
            return name

        return write

    def test_marked_functions_of_a_module_are_commands(self, write: Any) -> None:
        """Functions without a decorator are not."""
        name = write(
            "lab_commands_good",
            "from smartmob.commands.registry import register_command, update_client\n"
            "@register_command\n"
            "def hello(call, name: str):\n"
            "    'Say hello.'\n"
            "    update_client(call, name)\n"
            "def not_one(): pass\n",
        )
        assert Registry(registry.load(name)).names() == ["hello"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("import nothing_of_that_name", "cannot be imported"),
            ("1 +", "SyntaxError"),
            ("x = 1", "no function there is marked"),
        ],
    )
    def test_a_bad_module_stops_the_start(self, write: Any, text: str, message: str) -> None:
        """The error says what is wrong with the module."""
        with pytest.raises(SettingsError, match=message):
            registry.load(write(f"lab_commands_bad_{len(text)}", text))

    def test_types_that_cannot_be_checked_stop_the_start(self) -> None:
        """The error names the command."""

        def odd(call: Any, thing: Any) -> int:
            return 0

        odd.__annotations__["thing"] = "NothingOfThatName"
        command(odd)
        with pytest.raises(SettingsError, match="types that cannot be read"):
            Registry([odd])


def test_every_command_is_documented() -> None:
    """The documentation of a command is made of sentences."""
    for one in Registry(COMMANDS):
        assert one.description.summary.endswith("."), one.name
        assert one.description.text[0].isupper(), one.name


def test_every_command_of_conplyents_server_exists() -> None:
    """Programs written for conplyent find all commands."""
    names = (
        "cd ls cwd mkdir mkdirs rm rdfile wrfile touch jobs exec send_input is_alive kill close_server os_info "
        "user_name reboot shutdown get_time sleep"
    )
    assert set(names.split()) <= set(Registry(COMMANDS).names())
