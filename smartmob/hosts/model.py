"""The data of the feature `hosts`: machines, their samples, and aggregates of samples. No I/O.

A sample holds the load of a machine at one moment; `smartmob.hosts.fields` defines its fields and their units. Times
are seconds since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from smartmob.errors import Fault, InvalidInput
from smartmob.hosts.client_ids import LONGEST_NAME
from smartmob.hosts.fields import (
    FIELDS,
    NAMES,
    VALUE_BOUND,
    Container,
    FileSystem,
    SampleValues,
    Snapshot,
    StaleField,
    Unit,
    file_systems_of,
    message_fields,
    printable,
    printable_texts,
    totals_of,
    values_of,
    wrong_sizes,
)

LONGEST_DETAIL = 16 * 1024  # characters of JSON
LONGEST_REASON = 300  # characters of the reason of a stale field

Identity = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class _SampleExtras(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a sample message besides those of the table of fields."""

    time: float | None = None
    unix_time: float | None = None
    id: Identity | None = None
    cores: list[float] | None = None
    temperatures: dict[str, float] | None = None
    stale: dict[str, StaleField] | None = None
    container: Container | None = None
    totals: dict[str, float] | None = None
    file_systems: dict[str, FileSystem] | None = None
    unread: list[str] | None = None


if TYPE_CHECKING:

    class SampleData(SampleValues[float | None], _SampleExtras, frozen=True, kw_only=True):
        """A sample as a client sends it, for the type checker."""

else:
    SampleData = msgspec.defstruct(
        "SampleData",
        [
            *message_fields(float),
            ("id", Identity | None, None),
            ("cores", list[float] | None, None),
            ("temperatures", dict[str, float] | None, None),
            ("stale", dict[str, StaleField] | None, None),
            ("container", Container | None, None),
            ("totals", dict[str, float] | None, None),
            ("file_systems", dict[str, FileSystem] | None, None),
            ("unread", list[str] | None, None),
        ],
        frozen=True,
        module=__name__,
        namespace={
            "__doc__": """A sample as a client sends it: the fields by name or alias (`cpu_load`), and the time.

    `id` distinguishes samples of the same machine and moment, so that one that is sent twice is stored once. `stale`
    has the fields that could not be measured, `container` the limits that the fields are relative to, `totals` how
    many MB of `mem`, `swap` and `storage` there are, `file_systems` the storage by folder, `unread` what is not stored.
    """
        },
    )


class SampleRow(NamedTuple):
    """A sample as it is stored.

    `at` is in seconds since 1970, `n` distinguishes samples of the same moment; `values` are in the order of
    `fields.FIELDS`, `detail` is JSON.
    """

    host: str
    at: float
    n: int
    values: tuple[float | None, ...]
    detail: str | None


class TimeRules(msgspec.Struct, frozen=True):
    """The times that a sample may have: at most `ahead` seconds after now, at most `oldest` seconds before."""

    ahead: float
    oldest: float

    def check(self, time: float, now: float) -> None:
        """Raise InvalidInput, with the difference, unless a sample of `time` is accepted at the time `now`."""
        off = time - now
        if off > self.ahead:
            raise InvalidInput.at(
                "time",
                f"{_when(time)} lies {_span(off)} in the future of this server ({_when(now)}). Send UTC seconds since "
                "1970; is the machine's clock or time zone wrong?",
            )
        if -off > self.oldest:
            raise InvalidInput.at(
                "time",
                f"{_when(time)} lies {_span(-off)} in the past; the oldest that is taken is {_span(self.oldest)} old. "
                "Is the machine's clock wrong?",
            )


def sample_row(host: str, data: SampleData, number: int) -> SampleRow:
    """Return a sample as it is stored; `number` is used when the `id` is missing. Raises InvalidInput."""
    time = data.time if data.time is not None else data.unix_time
    if time is None:
        raise InvalidInput.at("time", "this field is required: seconds since 1970")
    values = _read_values(data)
    for index, alias in _ALIASES:
        if (value := getattr(data, alias)) is not None:
            values = (*values[:index], value, *values[index + 1 :])
    for value in (time, *values):
        # Comparisons with a NaN are false.
        if value is not None and not 0 <= value < VALUE_BOUND:
            raise _out_of_range(time, values)
    detail = None if _read_details(data) == _NO_DETAILS else _detail(data)
    return SampleRow(host, time, number if data.id is None else data.id, values, detail)


_read_values: Callable[[SampleData], tuple[float | None, ...]] = attrgetter(*NAMES)
_ALIASES = [(index, alias) for index, field in enumerate(FIELDS) for alias in reversed(field.aliases)]


def _out_of_range(time: float, values: tuple[float | None, ...]) -> InvalidInput:
    """Return the error for the first value that is negative, too large or not a number."""
    for name, value in zip(("time", *NAMES), (time, *values), strict=True):
        if value is not None and not 0 <= value < VALUE_BOUND:
            return InvalidInput.at(name, f"expected a number from 0, got {value}")
    raise AssertionError(values)


DETAILS = ("unread", "stale", "container", "totals", "file_systems", "cores", "temperatures")
"""The keys of a sample that are stored as JSON, the most important first."""
_read_details: Callable[[SampleData], tuple[object, ...]] = attrgetter(*DETAILS)
_NO_DETAILS = (None,) * len(DETAILS)


def _detail(data: SampleData) -> str:
    """Return the details as JSON; the least important ones that do not fit are left out and named in `unread`."""
    detail = {name: value for name in DETAILS if (value := getattr(data, name)) is not None}
    while len(text := msgspec.json.encode(detail).decode()) > LONGEST_DETAIL:
        left_out, _ = detail.popitem()
        detail["unread"] = [*(detail.pop("unread", None) or ()), left_out][:_MOST_UNREAD]
        detail = {name: detail[name] for name in DETAILS if name in detail}
    if "\\u0000" in text:
        raise InvalidInput.at("temperatures", "a name cannot contain the NUL character")
    return text


def _converted(document: object) -> tuple[SampleData, Mapping[str, object]]:
    """Return the sample of a JSON object, and the object, in which lone surrogates are replaced."""
    try:
        try:
            data = msgspec.convert(document, SampleData, strict=False)
        except UnicodeError:  # a lone surrogate, which JSON can write and UTF-8 cannot
            document = printable_texts(document)
            data = msgspec.convert(document, SampleData, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"value error: {error}", (Fault("$", str(error)),)) from None
    assert isinstance(document, dict)  # any other value does not fit the type
    return data, document


def read_sample(document: object) -> SampleData:
    """Return the sample of a JSON object as Python's `json` read it; raises InvalidInput.

    Unknown keys, and fields that are not numbers (NaN, infinite), are left out and named in `unread`.
    """
    not_numbers: dict[str, None] = {}
    if isinstance(document, dict):
        not_numbers = {
            name: None
            for name, value in document.items()
            if value.__class__ is float and not isfinite(value) and name in _NUMBERS
        }
        if not_numbers:
            # The sender's document is not changed, because it is returned to the sender.
            document = {**document, **not_numbers}
    data, read = _converted(document)
    if not not_numbers and read.keys() <= _KEYS and _read_details(data) == _NO_DETAILS:
        return data  # most samples: nothing is left out
    return _without_unread(data, read.keys() - _KEYS, not_numbers)


def _without_unread(data: SampleData, unknown: Iterable[str], not_numbers: Iterable[str] = ()) -> SampleData:
    """Return a sample whose details are finite and have printable names; see `read_sample`."""
    changes: dict[str, Any] = {}
    unread = [*sorted(unknown), *not_numbers]
    if data.cores is not None and not all(map(isfinite, data.cores)):
        changes["cores"] = None
        unread.append("cores")
    if data.temperatures is not None and not all(map(_is_reading, data.temperatures.items())):
        unread += [f"temperatures.{name}" for name, value in data.temperatures.items() if not isfinite(value)]
        changes["temperatures"] = {
            printable(name): value for name, value in data.temperatures.items() if isfinite(value)
        }
    for name in wrong_sizes(data.totals or {}, data.file_systems or {}):
        changes[name] = None
        unread.append(name)
    if data.stale is not None:
        changes["stale"] = {
            printable(name): StaleField(field.value, field.age, printable(field.reason)[:LONGEST_REASON])
            for name, field in data.stale.items()
        }
    unread = [*(data.unread or ()), *unread]
    if unread:
        names = [printable(name)[:LONGEST_NAME] for name in unread]
        changes["unread"] = names[:_MOST_UNREAD]
    return msgspec.structs.replace(data, **changes) if changes else data


def _is_reading(item: tuple[str, float]) -> bool:
    return item[0].isprintable() and isfinite(item[1])


_KEYS = frozenset(SampleData.__struct_fields__)
_NUMBERS = frozenset(name for field in FIELDS for name in (*field.aliases, field.name))
_MOST_UNREAD = 32  # names in `unread`


def form_data(given: Mapping[str, str]) -> SampleData:
    """Return a sample from the fields of an HTML form, as `read_sample` does; raises InvalidInput."""
    try:
        data = msgspec.convert(
            {name: value for name, value in given.items() if name in _FORM_FIELDS}, SampleData, strict=False
        )
    except msgspec.ValidationError as error:
        raise InvalidInput(f"value error: {error}", (Fault("$", str(error)),)) from None
    return _without_unread(data, given.keys() - _FORM_FIELDS)


_FORM_FIELDS = _KEYS - {*DETAILS}


def as_numbers(data: SampleData) -> dict[str, Any]:
    """Return the keys of a sample message that were sent, with their values as numbers."""
    return {
        name: value if name in _FRACTIONS or not isinstance(value, float) else plain_number(value)
        for name, value in zip(_SENT, _read_sent(data), strict=True)
        if value is not None
    }


_REMARKS = ("stale", "container", "totals", "file_systems", "unread")
_SENT = tuple(name for name in SampleData.__struct_fields__ if name not in _REMARKS)
_read_sent: Callable[[SampleData], tuple[Any, ...]] = attrgetter(*_SENT)
_FRACTIONS = frozenset(name for field in FIELDS if field.unit is Unit.PERCENT for name in (*field.aliases, field.name))
"""The keys whose values stay fractions even when they are whole, as in seed 001."""


def plain_number(value: float) -> float | int:
    """Return a whole number as an integer, as the clients of seed 001 send it."""
    return int(value) if value.is_integer() else value


# -- the service's own machine ----------------------------------------------------------------------------------------


def sample_fields(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as the fields of a `SampleData`."""
    sizes = {"totals": totals_of(snapshot) or None, "file_systems": file_systems_of(snapshot) or None}
    details = {"stale": snapshot.stale or None, "container": snapshot.container, **sizes}
    return {
        **values_of(snapshot),
        "cores": snapshot.cores,
        "temperatures": snapshot.temperatures,
        **{name: value for name, value in details.items() if value is not None},
    }


# -- answers ----------------------------------------------------------------------------------------------------------


class _DetailedValues(SampleValues[float | None], frozen=True, kw_only=True):
    """The values of a sample with its details."""

    cores: list[float] | None
    temperatures: dict[str, float] | None
    container: Container | None = None
    totals: dict[str, float] = msgspec.field(default_factory=dict)
    file_systems: dict[str, FileSystem] = msgspec.field(default_factory=dict)
    unread: list[str] = msgspec.field(default_factory=list)
    stale: dict[str, StaleField] = msgspec.field(default_factory=dict)
    age: float = 0.0
    ages: dict[str, float | None] = msgspec.field(default_factory=dict)


class Latest(_DetailedValues, frozen=True):
    """The newest sample of a machine, `age` seconds old.

    A field that could not be measured is null; `stale` has its last value with the reason. `ages` has the age of each
    field in seconds. `container` has the limits of the container to which processor load and memory belong. `totals`
    and `file_systems` have sizes in MB. `unread` names fields that are sent but not stored.
    """

    time: datetime


def latest_of(at: datetime, values: Mapping[str, float | None], detail: Mapping[str, Any], now: datetime) -> Latest:
    """Return the newest sample of a machine; `detail` is what was stored as JSON, `now` the time of the answer."""
    age = round(max(0.0, (now - at).total_seconds()), 1)
    stale = _stale_fields(detail, age)
    ages = {name: age for name, value in values.items() if value is not None}
    return Latest(
        time=at,
        **values,
        cores=detail.get("cores"),
        temperatures=detail.get("temperatures"),
        container=msgspec.convert(detail.get("container"), Container | None),
        totals=detail.get("totals") or {},
        file_systems=msgspec.convert(detail.get("file_systems") or {}, dict[str, FileSystem]),
        unread=detail.get("unread") or [],
        stale=stale,
        age=age,
        ages={**ages, **{name: field.age for name, field in stale.items()}},
    )


def _stale_fields(detail: Mapping[str, Any], age: float) -> dict[str, StaleField]:
    """Return the fields that were stale when a sample was taken, `age` seconds ago, with their ages now."""
    return {
        name: msgspec.structs.replace(field, age=None if field.age is None else round(field.age + age, 1))
        for name, field in msgspec.convert(detail.get("stale") or {}, dict[str, StaleField]).items()
    }


class ClockOffset(msgspec.Struct, frozen=True):
    """The measured clock error of a machine: seconds to add to its clock, and the delay of the exchange in seconds."""

    time: datetime
    offset: float
    delay: float


class Host(msgspec.Struct, frozen=True):
    """A machine. `own`: the service runs on it."""

    name: str
    own: bool
    registered_at: datetime
    latest: Latest | None
    clock: ClockOffset | None


def _when(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time:g} s since 1970"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"
