"""Options: how a setting is declared as a field, how it is named outside, and which values it accepts. No I/O."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from smartmob.errors import SettingsError

PREFIX = "SMARTMOB_"

T = TypeVar("T")


def setting(
    default: T,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    shown: str = "",
    secret: bool = False,
    name: str = "",
) -> T:
    """Declare a field with its default, its help text and the values that it accepts.

    `shown` replaces the default in the help. `name` is the name of the setting if it differs from `GROUP_FIELD`.
    """
    metadata = {"help": text, "low": low, "high": high, "choices": choices, "shown": shown, "name": name}
    metadata["secret"] = secret
    return field(default=default, metadata=metadata, repr=not secret)


class Option(msgspec.Struct, frozen=True):
    """One setting as users see it."""

    name: str
    group: str
    attribute: str
    kind: type
    optional: bool
    repeatable: bool
    default: Any
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    shown: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """Return the flag of `smartmob serve`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Return the name of the environment variable."""
        return PREFIX + self.name.upper()

    @property
    def default_text(self) -> str:
        """Return the default as a text for the help."""
        if self.shown or self.default is None or self.default == ():
            return self.shown
        return str(self.default).lower() if self.kind is bool else str(self.default)

    def parse(self, given: object, source: str) -> Any:
        """Return `given` as a value of this setting; raises SettingsError that names `source`."""
        if self.repeatable:
            return _texts(given, source)
        try:
            value = _PARSERS[self.kind](given)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise SettingsError(f"{source}: expected {_NAMES[self.kind]}, got {given!r}") from None
        if self.choices and value not in self.choices:
            raise SettingsError(f"{source}: expected one of {', '.join(self.choices)}, got {value!r}")
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            bounds = f"at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:g}"
            raise SettingsError(f"{source}: expected {bounds}, got {value}")
        return value


def _parse_bool(given: object) -> bool:
    text = str(given).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off", ""):
        return False
    raise ValueError


def _parse_text(given: object) -> str:
    if not isinstance(given, str) or "\0" in given:
        raise TypeError
    return given


def _parse_path(given: object) -> Path:
    return (given if isinstance(given, Path) else Path(_parse_text(given))).expanduser()


def _parse_number(kind: type) -> Any:
    def parse(given: object) -> Any:
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise TypeError
        value = kind(given)
        if (kind is float and not math.isfinite(value)) or (isinstance(given, float) and value != given):
            raise ValueError
        return value

    return parse


_PARSERS: dict[type, Any] = {
    str: _parse_text,
    Path: _parse_path,
    bool: _parse_bool,
    int: _parse_number(int),
    float: _parse_number(float),
}
_NAMES = {str: "a text", Path: "a path", bool: "true or false", int: "a whole number", float: "a number"}


def options(owner: type) -> tuple[Option, ...]:
    """Return the settings that a dataclass and its nested dataclasses declare."""

    def walk(owner: type, group: str) -> Iterator[Option]:
        hints = typing.get_type_hints(owner)
        for item in dataclasses.fields(owner):
            hint = hints[item.name]
            if dataclasses.is_dataclass(hint):
                yield from walk(typing.cast(type, hint), item.name)
            elif "help" in item.metadata:
                optional = isinstance(hint, types.UnionType)
                kind = typing.get_args(hint)[0] if optional else hint
                repeatable = typing.get_origin(kind) is tuple
                metadata = dict(item.metadata)
                yield Option(
                    name=metadata.pop("name") or (f"{group}_{item.name}" if group else item.name),
                    group=group,
                    attribute=item.name,
                    kind=str if repeatable else kind,
                    optional=optional,
                    repeatable=repeatable,
                    default=item.default,
                    **metadata,
                )

    return tuple(walk(owner, ""))


def _texts(given: object, source: str) -> tuple[str, ...]:
    """Return the texts of a setting that may be repeated; raises SettingsError that names `source`."""
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise SettingsError(f"{source}: expected a list of texts, got {given!r}")
    return tuple(part.strip() for part in parts if part.strip())
