"""Commands as data: a command is one function that holds its parameters (its signature), what it does (its body) and
its documentation (its docstring). The names that clients see, the checks of what they send and the reference all come
from there.

A module of one's own, given by `--commands`, uses the same two decorators:

    from smartmob.commands.registry import background_command, command, update_client

    @command
    def double(call, value: int) -> int:
        \"\"\"Say twice a number.\"\"\"
        update_client(call, 2 * value)
        return 0

The first parameter is the `Call`; in a background command the second is the queue of what clients tell it:
`{"type": INPUT, "value": ...}` and `{"type": KILL}`. The result is the exit code, None means 0. Functions may be
plain (they run in a thread) or async.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from smartmob.commands.model import CommandDescription, Parameter
from smartmob.errors import InvalidInput, NotFound, SettingsError

INPUT, KILL = 0, 1

F = TypeVar("F", bound=Callable[..., Any])
Check = Callable[[Mapping[str, Any]], None]

_MARK = "__smartmob_command__"
_JOB = "__smartmob_job__"


class ExecutionMode(Enum):
    """Where a command runs: at once within the loop, as a task of the loop, or in a thread."""

    INLINE = "inline"
    LOOP = "loop"
    THREAD = "thread"


@dataclass(frozen=True, slots=True)
class _Mark:
    background: bool
    inline: bool
    named: str | None


@typing.overload
def command(function: F) -> F: ...
@typing.overload
def command(*, inline: bool = False, name: str | None = None) -> Callable[[F], F]: ...
def command(function: Any = None, *, inline: bool = False, name: str | None = None) -> Any:
    """Mark a function as a command. An `inline` one must not wait for anything, so it is answered at once."""
    return _marked(function, _Mark(background=False, inline=inline, named=name))


@typing.overload
def background_command(function: F) -> F: ...
@typing.overload
def background_command(*, name: str | None = None) -> Callable[[F], F]: ...
def background_command(function: Any = None, *, name: str | None = None) -> Any:
    """Mark a function as a command that is a job: it is recorded, its output kept, and it outlives its client."""
    return _marked(function, _Mark(background=True, inline=False, named=name))


def job_command(check: Check) -> Callable[[F], F]:
    """Mark an async function of the service itself as a command that is a job and returns its own `Outcome`.

    `check` gets what was given, by name, before there is a job; it raises InvalidInput for what the types cannot tell.
    """

    def decorate(function: F) -> F:
        setattr(function, _MARK, _Mark(background=True, inline=False, named=None))
        setattr(function, _JOB, check)
        return function

    return decorate


register_command, register_background_command = command, background_command


def update_client(call: Any, value: object) -> None:
    """Tell the client something; from a thread this waits until the client has room for it."""
    call.say(value)


def _marked(function: Any, mark: _Mark) -> Any:
    def decorate(function: Any) -> Any:
        setattr(function, _MARK, mark)
        return function

    return decorate if function is None else decorate(function)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that clients can call."""

    name: str
    function: Callable[..., Any]
    background: bool
    where: ExecutionMode
    own_outcome: bool
    positional: tuple[str, ...]
    required: frozenset[str]
    open_ended: bool
    shape: Any
    check: Check | None
    description: CommandDescription

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, native: bool) -> dict[str, Any]:
        """Return the parameters by name, checked; raises InvalidInput that names the bad one.

        `native` arguments are Python's own, others come from JSON, where bytes are base64.
        """
        if not args and not kwargs and not self.required:
            return {}
        if len(args) > len(self.positional):
            raise InvalidInput(f"{self.name} takes {len(self.positional)} arguments, {len(args)} were given")
        given = dict(zip(self.positional, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise InvalidInput.at(name, f"{self.name} got this argument twice")
            given[name] = value
        if self.open_ended:
            return given
        for name in given:
            if name not in self.shape.__struct_fields__:
                raise InvalidInput.at(name, f"{self.name} has no such parameter")
        for name in self.required:
            if name not in given:
                raise InvalidInput.at(name, f"{self.name} needs this parameter")
        kinds = (bytes, bytearray, datetime) if native else None
        try:
            checked = msgspec.convert(given, self.shape, builtin_types=kinds)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"{self.name}: {error}") from None
        values = {name: getattr(checked, name) for name in given}
        if self.check is not None:
            self.check(values)
        return values


@functools.cache
def _read(function: Callable[..., Any], mark: _Mark) -> Command:
    """Return the command that a function is; raises SettingsError for one that cannot be a command."""
    name = mark.named or function.__name__
    own_outcome = hasattr(function, _JOB)
    first = 2 if mark.background and not own_outcome else 1
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise SettingsError(f"the command {name} has types that cannot be read: {error}") from None
    parameters = list(inspect.signature(function).parameters.values())[first:]
    fixed = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    fields: list[Any] = []
    for parameter in fixed:
        kind = hints.get(parameter.name, Any)
        fields.append(
            (parameter.name, kind)
            if parameter.default is parameter.empty
            else (parameter.name, kind, msgspec.field(default=parameter.default))
        )
    fields.sort(key=len)
    try:
        shape = msgspec.defstruct(name, fields, kw_only=True)
        schemas = [msgspec.json.schema(hints.get(p.name, Any)) for p in fixed]
    except TypeError as error:
        raise SettingsError(f"the command {name} has parameters that cannot be checked: {error}") from None
    text = inspect.getdoc(function) or ""
    described = [_parameter(p, schema, hints) for p, schema in zip(fixed, schemas, strict=True)]
    where = (
        ExecutionMode.INLINE
        if mark.inline
        else ExecutionMode.LOOP
        if inspect.iscoroutinefunction(function)
        else ExecutionMode.THREAD
    )
    return Command(
        name=name,
        function=function,
        background=mark.background,
        where=where,
        own_outcome=own_outcome,
        positional=tuple(p.name for p in fixed if p.kind != p.KEYWORD_ONLY),
        required=frozenset(p.name for p in fixed if p.default is p.empty),
        open_ended=len(fixed) != len(parameters),
        shape=shape,
        check=getattr(function, _JOB, None),
        description=CommandDescription(
            name=name,
            summary=text.partition("\n")[0],
            text=text,
            background=mark.background,
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
    """The commands of one service, by name."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._commands: dict[str, Command] = {}
        for function in functions:
            self.add(function)

    def add(self, function: Callable[..., Any]) -> None:
        """Add a marked function; a later one of the same name takes the place of an earlier one."""
        found = _read(function, getattr(function, _MARK))
        self._commands[found.name] = found

    def find(self, name: str) -> Command:
        """Return a command; raises NotFound."""
        try:
            return self._commands[name]
        except KeyError:
            raise NotFound(f"there is no command {name[:80]}; GET /commands lists what there is") from None

    def names(self) -> list[str]:
        """Return the names of all commands."""
        return list(self._commands)

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())


def functions_of(module: ModuleType) -> list[Callable[..., Any]]:
    """Return the marked functions that a module defines or imports."""
    return [value for value in vars(module).values() if hasattr(value, _MARK)]


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
