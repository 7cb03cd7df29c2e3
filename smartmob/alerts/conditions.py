"""The grammar of conditions: texts such as `cpu > 90 for 5m`. No I/O. docs/reference/alerts.md describes it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from smartmob.alerts.state_machine import Timing
from smartmob.errors import InvalidInput
from smartmob.hosts.fields import FIELDS, Unit

LONGEST_SECONDS = 30 * 86_400.0
SHORTEST_SILENCE_SECONDS = 1.0
TEMPERATURE = "temperature"
"""The field of the hottest sensor; `temperature.NAME` is one sensor."""
SERVICE_FREE = "service.free"
"""The field of the free bytes on the disk of the data directory."""

_UNITS = {field.name: field.unit for field in FIELDS}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
"""Bytes of each unit of size."""
_MEGABYTE = 2**20  # the unit in which sizes of samples are stored
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(.*)")
_OPERATORS = (">", ">=", "<", "<=")


AT_ONCE = Timing()
"""The times of events: events fire and resolve as soon as they are known."""


class Silent(msgspec.Struct, frozen=True):
    """A machine that sent no sample for `seconds`."""

    seconds: float
    timing: Timing


class Threshold(msgspec.Struct, frozen=True):
    """A field beyond a limit. The alert is over once the field is back beyond `clear`, by default `limit`."""

    field: str
    operator: str
    limit: float
    clear: float
    timing: Timing

    def is_bad(self, value: float) -> bool:
        """Return whether a value is beyond the limit."""
        return _COMPARE[self.operator](value, self.limit)

    def is_good(self, value: float) -> bool:
        """Return whether a value is so far back that an alert is over."""
        return not self.is_bad(value) and not _COMPARE[self.operator](value, self.clear)


class Regression(msgspec.Struct, frozen=True):
    """A test that became slower by at least `least`, a share, in a run."""

    least: float
    timing: Timing = AT_ONCE


class LoadTestFailed(msgspec.Struct, frozen=True):
    """A load test that failed, or ended with a share of errors above `errors` if that is set."""

    errors: float | None = None
    timing: Timing = AT_ONCE


class ProcessCrashing(msgspec.Struct, frozen=True):
    """A process that keeps ending, or cannot be started."""

    timing: Timing = AT_ONCE


class JobFailed(msgspec.Struct, frozen=True):
    """A job that ended with an error."""

    timing: Timing = AT_ONCE


class DatabaseLost(msgspec.Struct, frozen=True):
    """A database that could not be used for `seconds` or longer. It is known once the database is back."""

    seconds: float = 0.0
    timing: Timing = AT_ONCE


Condition: TypeAlias = Silent | Threshold | Regression | LoadTestFailed | ProcessCrashing | JobFailed | DatabaseLost

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}

EXAMPLES = (
    "silent for 5m, cpu > 90 for 5m, regression by 10%, load test failed, load test errors > 5%, process crashing, "
    "job failed, database lost for 30s"
)


def parse(text: str, where: str = "$.condition") -> Condition:
    """Return the condition of a text. Raises InvalidInput, which names `where` and the expected words."""
    try:
        return _parse(text)
    except _Unreadable as error:
        raise InvalidInput.at(where, f"{error} in {text!r}; examples are: {EXAMPLES}") from None


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as `90s` or `1h30m`. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


class _Unreadable(ValueError):
    """The text is not a condition; the message says what was expected."""


class _Words:
    """The words of a condition, read from left to right."""

    def __init__(self, text: str) -> None:
        self._words = re.sub(r"(>=|<=|>(?!=)|<(?!=))", r" \1 ", text).split()
        self._next = 0

    def peek(self) -> str:
        return self._words[self._next] if self._next < len(self._words) else ""

    def take(self, expected: str) -> str:
        word = self.peek()
        if not word:
            raise _Unreadable(f"expected {expected} at the end")
        self._next += 1
        return word

    def accept(self, *words: str) -> bool:
        """Skip `words` if they come next; return whether they did."""
        if tuple(self._words[self._next : self._next + len(words)]) != words:
            return False
        self._next += len(words)
        return True

    def end(self) -> None:
        if self.peek():
            raise _Unreadable(f"did not expect {self.peek()!r}")


def _parse(text: str) -> Condition:
    words = _Words(text)
    found = _condition(words)
    words.end()
    return found


def _condition(words: _Words) -> Condition:
    if words.accept("silent"):
        return _silent(words)
    if words.accept("regression"):
        return Regression(_share(words) if words.accept("by") else 0.0)
    if words.accept("load", "test", "failed"):
        return LoadTestFailed()
    if words.accept("load", "test", "errors", ">"):
        return LoadTestFailed(_share(words))
    if words.accept("process", "crashing"):
        return ProcessCrashing()
    if words.accept("job", "failed"):
        return JobFailed()
    if words.accept("database", "lost"):
        return DatabaseLost(_duration(words) if words.accept("for") else 0.0)
    return _threshold(words)


def _silent(words: _Words) -> Silent:
    if not words.accept("for"):
        raise _Unreadable("expected `for` and a duration after `silent`")
    seconds = _duration(words, SHORTEST_SILENCE_SECONDS)
    return Silent(seconds, Timing(0.0, _recovery(words, 0.0)))


def _threshold(words: _Words) -> Threshold:
    field = words.take("a condition")
    if field not in _UNITS and field not in (TEMPERATURE, SERVICE_FREE) and not field.startswith(f"{TEMPERATURE}."):
        names = ", ".join([*_UNITS, TEMPERATURE, SERVICE_FREE])
        raise _Unreadable(f"there is no field {field!r} ({names})")
    operator = words.take("one of > >= < <=")
    if operator not in _OPERATORS:
        raise _Unreadable(f"expected one of {' '.join(_OPERATORS)} after {field}, got {operator!r}")
    limit = _amount(words, field)
    pending, clear = 0.0, limit
    if words.accept("for"):
        pending = _duration(words)
    if words.accept("clear"):
        clear = _amount(words, field)
        if _COMPARE[operator](clear, limit) and clear != limit:
            raise _Unreadable(f"the value after `clear` must be on the good side of {field} {operator} {limit:g}")
    return Threshold(field, operator, limit, clear, Timing(pending, _recovery(words, pending)))


def _recovery(words: _Words, default: float) -> float:
    return _duration(words) if words.accept("recover") else default


def _duration(words: _Words, least: float = 0.0) -> float:
    text = words.take("a duration such as 5m")
    try:
        seconds = seconds_of(text)
    except ValueError:
        raise _Unreadable(f"expected a duration such as 30s, 5m, 1h30m or 1d, got {text!r}") from None
    if not least <= seconds <= LONGEST_SECONDS:
        raise _Unreadable(f"expected a duration from {least:g}s to {LONGEST_SECONDS / 86_400:g}d, got {text!r}")
    return seconds


def _share(words: _Words) -> float:
    text = words.take("a percentage such as 10%")
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] != "%" or not 0 < float(match[1]) <= 10_000:
        raise _Unreadable(f"expected a percentage such as 10%, got {text!r}")
    return float(match[1]) / 100


def _size(number: float, unit: str, kind: Unit, field: str) -> float:
    """Return a size in the unit in which the field is stored, which is also the unit of a bare number."""
    if not unit:
        return number
    if unit not in _BYTES:
        raise _Unreadable(f"{field} is a size: expected one of the units {', '.join(_BYTES)}, got {unit!r}")
    return number * _BYTES[unit] / (_MEGABYTE if kind is Unit.MEGABYTES else 1)


def _amount(words: _Words, field: str) -> float:
    """Return an amount in the unit in which the field is stored."""
    text = words.take("a number")
    match = _NUMBER.fullmatch(text)
    if match is None or not math.isfinite(float(match[1])):
        raise _Unreadable(f"expected a number, got {text!r}")
    number, unit = float(match[1]), match[2]
    if not unit and words.peek() in (*_BYTES, "%"):
        unit = words.take("a unit")
    kind = _UNITS.get(field, Unit.NONE)
    if field == SERVICE_FREE or kind in (Unit.MEGABYTES, Unit.BYTES_PER_SECOND):
        return _size(number, unit.removesuffix("/s") if kind is Unit.BYTES_PER_SECOND else unit, kind, field)
    if unit and not (unit == "%" and kind is Unit.PERCENT) and not (unit in ("C", "°C") and field.startswith("temp")):
        raise _Unreadable(f"{field} has no unit {unit!r}")
    return number


def family(condition: Condition) -> tuple[str, str]:
    """Return what a condition is about. An active alert is kept when its rule is replaced by one of the same family."""
    return type(condition).__name__, condition.field if isinstance(condition, Threshold) else ""
