"""Commands, each defined by one function: its signature gives the parameters, its body does the work, and its docstring
is the documentation. The names that clients see, the checks of arguments and the reference are made from the function.

A module of a user, named by `--commands`, uses the same two decorators:

    from smartmob.commands.registry import background_command, command, update_client

    @command
    def double(call, value: int) -> int:
        \"\"\"Return twice a number.\"\"\"
        update_client(call, 2 * value)
        return 0

The first parameter is the `CallContext`. In a background command the second one is a queue of messages from clients:
`{"type": INPUT, "value": ...}` and `{"type": KILL}`. The result is the exit code; None means 0. Functions may be plain
(they run in a thread) or async.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from smartmob.commands.model import CommandDescription, Parameter
from smartmob.counts import counted
from smartmob.errors import InvalidInput, NotFound, SettingsError

# The types of messages in the queue of a background command: those of conplyent (seed 003).
INPUT = 0  # a text for the command
KILL = 1  # a request to end

F = TypeVar("F", bound=Callable[..., Any])
Check = Callable[[Mapping[str, Any]], None]

_MARKER = "__smartmob_command__"
_CHECK = "__smartmob_check__"


class ExecutionMode(Enum):
    """The way in which a command runs: without its own task, as a task of the event loop, or in a thread."""

    INLINE = "inline"
    LOOP = "loop"
    THREAD = "thread"


class _Marker(msgspec.Struct, frozen=True):
    """The options of a decorator, stored at the function."""

    background: bool
    inline: bool
    named: str | None


@typing.overload
def command(function: F) -> F: ...
@typing.overload
def command(*, inline: bool = False, name: str | None = None) -> Callable[[F], F]: ...
def command(function: Any = None, *, inline: bool = False, name: str | None = None) -> Any:
    """Mark a function as a command. An `inline` one must never wait; it runs without a task of its own."""
    return _marked(function, _Marker(background=False, inline=inline, named=name))


@typing.overload
def background_command(function: F) -> F: ...
@typing.overload
def background_command(*, name: str | None = None) -> Callable[[F], F]: ...
def background_command(function: Any = None, *, name: str | None = None) -> Any:
    """Mark a function as a command that is a job: it is recorded, its output is kept, and it outlives its client."""
    return _marked(function, _Marker(background=True, inline=False, named=name))


def job_command(check: Check) -> Callable[[F], F]:
    """Mark an async function of the service itself as a command that is a job and returns its own `Outcome`.

    `check` is called with the arguments by name before the job is made. It raises InvalidInput for values that the
    type hints allow but that cannot work.
    """

    def decorate(function: F) -> F:
        setattr(function, _MARKER, _Marker(background=True, inline=False, named=None))
        setattr(function, _CHECK, check)
        return function

    return decorate


register_command, register_background_command = command, background_command


def update_client(call: Any, value: object) -> None:
    """Send a message to the client. A thread waits until the client can receive more."""
    call.emit(value)


def _marked(function: Any, marker: _Marker) -> Any:
    def decorate(function: Any) -> Any:
        setattr(function, _MARKER, marker)
        return function

    return decorate if function is None else decorate(function)


class Command(msgspec.Struct, frozen=True):
    """A command that clients can call.

    `variadic` is true for functions with *args or **kwargs, whose arguments are not checked. `struct` is a type with
    the parameters as fields, which checks the others.
    """

    name: str
    function: Callable[..., Any]
    background: bool
    mode: ExecutionMode
    returns_outcome: bool
    positional: tuple[str, ...]
    required: frozenset[str]
    variadic: bool
    struct: Any
    check: Check | None
    description: CommandDescription

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, native: bool) -> dict[str, Any]:
        """Return checked arguments by name; raises InvalidInput that names the bad one.

        `native` arguments are Python values; others are JSON values, where bytes are base64 and times are texts.
        """
        if not args and not kwargs and not self.required:
            return {}
        if len(args) > len(self.positional):
            raise InvalidInput(f"{self.name} takes {counted(len(self.positional), 'argument')}, {len(args)} given")
        arguments = dict(zip(self.positional, args, strict=False))
        for name, value in kwargs.items():
            if name in arguments:
                raise InvalidInput.at(name, f"{self.name} got this argument twice")
            arguments[name] = value
        if self.variadic:
            return arguments
        for name in arguments:
            if name not in self.struct.__struct_fields__:
                raise InvalidInput.at(name, f"{self.name} has no such parameter")
        for name in self.required:
            if name not in arguments:
                raise InvalidInput.at(name, f"{self.name} needs this parameter")
        kinds = (bytes, bytearray, datetime) if native else None
        try:
            checked = msgspec.convert(arguments, self.struct, builtin_types=kinds)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"{self.name}: {error}") from None
        values = {name: getattr(checked, name) for name in arguments}
        if self.check is not None:
            self.check(values)
        return values


@functools.cache
def _command_of(function: Callable[..., Any], marker: _Marker) -> Command:
    """Return the command that a marked function defines; raises SettingsError when its types cannot be checked."""
    name = marker.named or function.__name__
    returns_outcome = hasattr(function, _CHECK)
    first = 2 if marker.background and not returns_outcome else 1
    try:
        hints = typing.get_type_hints(function)
        bounded = typing.get_type_hints(function, include_extras=True)  # with the bounds of numbers
    except (NameError, TypeError) as error:
        raise SettingsError(f"the command {name} has types that cannot be read: {error}") from None
    parameters = list(inspect.signature(function).parameters.values())[first:]
    fixed = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    fields: list[Any] = []
    for parameter in fixed:
        kind = bounded.get(parameter.name, Any)
        fields.append(
            (parameter.name, kind)
            if parameter.default is parameter.empty
            else (parameter.name, kind, msgspec.field(default=parameter.default))
        )
    fields.sort(key=len)
    try:
        struct = msgspec.defstruct(name, fields, kw_only=True)
        schemas = [msgspec.json.schema(bounded.get(p.name, Any)) for p in fixed]
    except TypeError as error:
        raise SettingsError(f"the command {name} has parameters that cannot be checked: {error}") from None
    text = inspect.getdoc(function) or ""
    described = [_parameter(p, schema, hints) for p, schema in zip(fixed, schemas, strict=True)]
    mode = (
        ExecutionMode.INLINE
        if marker.inline
        else ExecutionMode.LOOP
        if inspect.iscoroutinefunction(function)
        else ExecutionMode.THREAD
    )
    return Command(
        name=name,
        function=function,
        background=marker.background,
        mode=mode,
        returns_outcome=returns_outcome,
        positional=tuple(p.name for p in fixed if p.kind != p.KEYWORD_ONLY),
        required=frozenset(p.name for p in fixed if p.default is p.empty),
        variadic=len(fixed) != len(parameters),
        struct=struct,
        check=getattr(function, _CHECK, None),
        description=CommandDescription(
            name=name,
            summary=text.partition("\n")[0],
            text=text,
            background=marker.background,
            parameters=described,
        ),
    )


def _parameter(parameter: inspect.Parameter, schema: dict[str, Any], hints: Mapping[str, Any]) -> Parameter:
    required = parameter.default is parameter.empty
    kind = inspect.formatannotation(hints.get(parameter.name, Any)).replace("smartmob.commands.model.", "")
    return Parameter(
        name=parameter.name,
        required=required,
        type=kind.removeprefix("typing."),
        schema=schema,
        default=None if required else parameter.default,
    )


class Registry:
    """The commands of a service, by name."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._commands: dict[str, Command] = {}
        for function in functions:
            self.add(function)

    def add(self, function: Callable[..., Any]) -> None:
        """Add a marked function. It replaces an earlier one of the same name."""
        added = _command_of(function, getattr(function, _MARKER))
        self._commands[added.name] = added

    def find(self, name: str) -> Command:
        """Return a command; raises NotFound."""
        try:
            return self._commands[name]
        except KeyError:
            raise NotFound(f"there is no command {name[:80]}; GET /commands lists the commands") from None

    def descriptions(self) -> list[CommandDescription]:
        """Return the descriptions of all commands."""
        return [command.description for command in self]

    def names(self) -> list[str]:
        """Return the names of all commands."""
        return list(self._commands)

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())


def functions_of(module: ModuleType) -> list[Callable[..., Any]]:
    """Return the marked functions that a module defines or imports."""
    return [value for value in vars(module).values() if hasattr(value, _MARKER)]


def load(name: str) -> list[Callable[..., Any]]:
    """Return the commands of the module `name`; raises SettingsError."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise SettingsError(
            f"--commands {name}: the module cannot be imported ({type(error).__name__}: {error}). "
            "Is it on the path (PYTHONPATH), and named without .py?"
        ) from error
    found = functions_of(module)
    if not found:
        raise SettingsError(f"--commands {name}: no function there is marked with @command or @background_command")
    return found
