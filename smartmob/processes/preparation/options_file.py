"""Parser of smartmob.toml, which stands beside a Procfile: checks, dependencies and restart policies. No I/O.

A table `[processes.TYPE]` has the options of a process type. A fault in one type invalidates only that type, as in a
Procfile.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from smartmob import field_hints
from smartmob.errors import InvalidInput
from smartmob.processes import dependencies, model
from smartmob.processes.preparation import toml_text
from smartmob.processes.preparation.procfile import MOST_BYTES

NAME = "smartmob.toml"
_TABLE = "processes"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of a process type."""

    restart: model.RestartPolicy | None = None
    readiness: model.HealthCheck | None = None
    liveness: model.HealthCheck | None = None
    depends_on: dict[str, model.Condition] | None = None


class BadOptions(InvalidInput):
    """The file, or the table of a process type, is invalid."""


class OptionsFile(msgspec.Struct, frozen=True):
    """The options of process types, without unset ones, and the error of each type that has one.

    `file` is the name in messages.
    """

    file: str = NAME
    tables: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    faults: dict[str, BadOptions] = msgspec.field(default_factory=dict)

    def of(self, process_type: str) -> model.Options:
        """Return the options of a process type; raises its BadOptions, also for a cycle of dependencies."""
        if process_type in self.faults:
            raise self.faults[process_type]
        graph = {name: options.get("depends_on", {}) for name, options in self.tables.items()}
        if way := dependencies.cycle(process_type, graph):
            reason = dependencies.shown_cycle(way)
            raise BadOptions(f"{self.file}: [{_TABLE}.{process_type}]: depends_on: {reason}")
        return model.Options(**self.tables.get(process_type, {}))


def parse(data: bytes, types: Collection[str] | None, file: str = NAME) -> OptionsFile:
    """Return the options in a file; `types` are the process types of the Procfile, None when they are not known.

    Raises BadOptions for faults that concern no single type.
    """
    document = _document(data, file)
    if unknown := sorted(document.keys() - {_TABLE}):
        raise BadOptions(f"{file}: unknown table or key {unknown[0]!r}; expected [{_TABLE}.TYPE]")
    tables = document.get(_TABLE, {})
    if not isinstance(tables, dict):
        raise BadOptions(f"{file}: {_TABLE}: expected tables [{_TABLE}.TYPE]")
    found = OptionsFile(file)
    for name, table in tables.items():
        if types is not None and name not in types:
            hint = dependencies.suggestion(name, types)
            raise BadOptions(f"{file}: [{_TABLE}.{name}]: the Procfile has no {name!r}; {hint}")
        try:
            options = _options(table, types)
        except ValueError as error:
            found.faults[name] = BadOptions(f"{file}: [{_TABLE}.{name}]: {error}")
        else:
            found.tables[name] = options
    return found


def _document(data: bytes, file: str) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise BadOptions(f"{file}: the file has more than {MOST_BYTES} bytes")
    try:
        return toml_text.parse(data.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError as error:
        raise BadOptions(f"{file}: byte {error.start + 1} of the file is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise BadOptions(f"{file}: {str(error) or 'nested too deeply'}") from None


_RELEASE = "release"
"""The type that `smartmob run` starts before all others, and deletes when it has ended."""


def _options(table: object, types: Collection[str] | None) -> dict[str, Any]:
    """Return the options that a table gives; raises ValueError, with a text for people."""
    if not isinstance(table, Mapping):
        raise ValueError("expected a table")
    try:
        read = msgspec.convert(table, _Table)
    except msgspec.ValidationError as error:
        text, _, path = str(error).rpartition(" - at `")
        where = path.rstrip("`") if text else "$"
        reason, _ = field_hints.explained(text or str(error), where, _Table, table)
        raise ValueError(_shown(reason, where)) from None
    for name in read.depends_on or {}:
        if name == _RELEASE:
            raise ValueError("depends_on: release runs before all others and is gone then; leave it out")
        if types is not None and name not in types:
            raise ValueError(f"depends_on: the Procfile has no {name!r}; {dependencies.suggestion(name, types)}")
    given = {name: getattr(read, name) for name in _Table.__struct_fields__}
    return {name: value for name, value in given.items() if value is not None}


def _shown(message: str, where: str) -> str:
    """Return a message with the key of the value first: `readiness.interval: expected float >= 0.1`."""
    key = where.removeprefix("$").removeprefix(".").removesuffix("[...]")
    reason = message.replace(" | null`", "`")
    return f"{key}{': ' if key else ''}{reason[:1].lower()}{reason[1:]}"
