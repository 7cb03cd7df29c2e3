"""What the feature `hosts` stores and says: machines, their samples, and what many samples come to. No I/O.

A sample holds the load of a machine at one moment. Processor figures are percentages, memory and storage are MB in use
(2^20 bytes, as the clients of seed 001 send them), rates are bytes per second. Times are seconds since 1970 (UTC).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from smartmob.errors import Fault, InvalidInput

FIGURES = ("cpu", "mem", "storage", "load", "swap", "disk_read", "disk_write", "net_received", "net_sent")
"""The figures of a sample, in the order of their columns."""

LONGEST_NAME = 128
LONGEST_PASSWORD = 1024
LONGEST_DETAIL = 16 * 1024
_LONGEST_CLIENT_ID = 4 * (4 * LONGEST_NAME + LONGEST_PASSWORD * 4 + 1) // 3 + 4

Identity = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class SampleData(msgspec.Struct, frozen=True):
    """A sample as a client sends it, under the names of the existing clients (`cpu_load`, `time`) or of the report.

    `id` tells a sample from others of the same machine and moment, so that one sent twice is stored once.
    """

    cpu_load: float | None = None
    cpu: float | None = None
    mem: float | None = None
    storage: float | None = None
    time: float | None = None
    unix_time: float | None = None
    load: float | None = None
    swap: float | None = None
    disk_read: float | None = None
    disk_write: float | None = None
    net_received: float | None = None
    net_sent: float | None = None
    id: Identity | None = None
    cores: list[float] | None = None
    temperatures: dict[str, float] | None = None


class SampleRow(NamedTuple):
    """A sample as it is stored; `detail` is JSON."""

    host: str
    at: float
    n: int
    cpu: float | None
    mem: float | None
    storage: float | None
    load: float | None
    swap: float | None
    disk_read: float | None
    disk_write: float | None
    net_received: float | None
    net_sent: float | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class TimeRules:
    """Which times a sample may have: at most `ahead` seconds after now, at most `oldest` seconds before."""

    ahead: float
    oldest: float

    def check(self, time: float, now: float) -> None:
        """Raise InvalidInput when a sample of `time` cannot be taken; says by how much it is off."""
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
    """Return a sample as it is stored; `number` takes the place of a missing `id`. Raises InvalidInput."""
    time = data.time if data.time is not None else data.unix_time
    if time is None:
        raise InvalidInput.at("time", "this field is required: seconds since 1970")
    cpu = data.cpu_load if data.cpu_load is not None else data.cpu
    row = SampleRow(
        *(host, time, number if data.id is None else data.id, cpu, data.mem, data.storage, data.load, data.swap),
        *(data.disk_read, data.disk_write, data.net_received, data.net_sent),
        None if data.cores is None and data.temperatures is None else _detail(data),
    )
    for value in row[1:2] + row[3:-1]:
        # Comparisons with a NaN are false.
        if value is not None and not 0 <= value < _MOST:
            raise _out_of_range(row)
    return row


_CHECKED = ("time", *FIGURES)
_MOST = 1e18


def _out_of_range(row: SampleRow) -> InvalidInput:
    """Return the refusal that names the first figure that is no number from 0."""
    for name, value in zip(_CHECKED, row[1:2] + row[3:-1], strict=True):
        if value is not None and not 0 <= value < _MOST:
            return InvalidInput.at(name, f"expected a number from 0, got {value}")
    raise AssertionError(row)


def _detail(data: SampleData) -> str:
    detail = {"cores": data.cores, "temperatures": data.temperatures}
    text = msgspec.json.encode({name: value for name, value in detail.items() if value is not None}).decode()
    if len(text) > LONGEST_DETAIL:
        raise InvalidInput.at("cores", f"cores and temperatures have more than {LONGEST_DETAIL} characters")
    if "\\u0000" in text:
        raise InvalidInput.at("temperatures", "a name cannot contain the NUL character")
    return text


def form_data(given: Mapping[str, str]) -> SampleData:
    """Return a sample from the fields of a form; raises InvalidInput."""
    try:
        return msgspec.convert(
            {name: value for name, value in given.items() if name in _FORM_FIELDS}, SampleData, strict=False
        )
    except msgspec.ValidationError as error:
        raise InvalidInput(f"value error: {error}", (Fault("$", str(error)),)) from None


_FORM_FIELDS = frozenset(SampleData.__struct_fields__) - {"cores", "temperatures"}


def as_numbers(data: SampleData) -> dict[str, Any]:
    """Return what was sent as numbers, under the names under which it came."""
    return {
        name: value if name in ("cpu_load", "cpu") or not isinstance(value, float) else plain_number(value)
        for name in SampleData.__struct_fields__
        if (value := getattr(data, name)) is not None
    }


def plain_number(value: float) -> float | int:
    """Return a whole number as an integer, as the clients send it."""
    return int(value) if value.is_integer() else value


# -- the service's own machine ----------------------------------------------------------------------------------------

MEGABYTE = 2**20


class Memory(msgspec.Struct, frozen=True):
    """Memory in bytes, and how much of it is in use as a percentage. What a platform does not tell is 0."""

    total: int
    available: int
    percent: float
    used: int
    free: int
    active: int
    inactive: int
    buffers: int
    cached: int
    shared: int
    slab: int


class Storage(msgspec.Struct, frozen=True):
    """A disk in bytes, and how much of it is in use as a percentage."""

    total: int
    percent: float
    used: int
    free: int


class Snapshot(msgspec.Struct, frozen=True):
    """What one look has found: percentages, bytes, bytes per second since the look before, and degrees Celsius."""

    at: float
    cpu: float
    cores: list[float]
    load: tuple[float, float, float]
    memory: Memory
    swap_used: int
    swap_total: int
    storage: Storage
    disk_read: float
    disk_write: float
    net_received: float
    net_sent: float
    temperatures: dict[str, float]


def sample_fields(sweep: Snapshot) -> dict[str, Any]:
    """Return a sweep under the names of `SampleData`; memory, storage and swap in MB, as clients send them."""
    return {
        "cpu_load": sweep.cpu,
        "mem": sweep.memory.used // MEGABYTE,
        "storage": sweep.storage.used // MEGABYTE,
        "load": sweep.load[0],
        "swap": sweep.swap_used // MEGABYTE,
        "disk_read": sweep.disk_read,
        "disk_write": sweep.disk_write,
        "net_received": sweep.net_received,
        "net_sent": sweep.net_sent,
        "cores": sweep.cores,
        "temperatures": sweep.temperatures,
    }


# -- who a machine is -------------------------------------------------------------------------------------------------


def is_name(name: str) -> bool:
    """Return whether a machine may be called so: it begins with a letter, is printable and has no colon.

    A colon separates the name from the password in a client id. Slashes, dots and letters of any script are fine.
    """
    return 0 < len(name) <= LONGEST_NAME and name[0].isalpha() and name.isprintable() and ":" not in name


def client_id(name: str, password: str) -> str:
    """Return the id with which a client authenticates: the base64 of `name:password` (seed 001)."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def parse_client_id(given: str) -> tuple[str, str] | None:
    """Return name and password of a client id, or None when it is none."""
    if len(given) > _LONGEST_CLIENT_ID:
        return None
    try:
        name, colon, password = base64.b64decode(given.strip().encode(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return None
    return (name, password) if colon and is_name(name) else None


def authorization_id(header: str | None) -> str:
    """Return the client id in an Authorization header: bare, or as HTTP Basic, which is the same base64."""
    scheme, _, rest = (header or "").strip().partition(" ")
    return rest.strip() if scheme.lower() == "basic" else scheme


# -- what is told of machines and samples -----------------------------------------------------------------------------


class Latest(msgspec.Struct, frozen=True):
    """The newest sample of a machine."""

    time: datetime
    cpu: float | None
    mem: float | None
    storage: float | None
    load: float | None
    swap: float | None
    disk_read: float | None
    disk_write: float | None
    net_received: float | None
    net_sent: float | None
    cores: list[float] | None
    temperatures: dict[str, float] | None


class ClockOffset(msgspec.Struct, frozen=True):
    """How far the clock of a machine was from the server's: seconds to add to it, and the delay of the exchange."""

    time: datetime
    offset: float
    delay: float


class Host(msgspec.Struct, frozen=True):
    """A machine. `own` is the one on which the service runs."""

    name: str
    own: bool
    registered_at: datetime
    latest: Latest | None
    clock: ClockOffset | None


class MinAvgMax(msgspec.Struct, frozen=True):
    """What the samples of a span come to in one figure."""

    min: float
    avg: float
    max: float


class Point(msgspec.Struct, frozen=True):
    """A span of `width` seconds from `time` on; a raw sample has the width 0 and the same number three times."""

    time: datetime
    width: float
    samples: int
    cpu: MinAvgMax | None
    mem: MinAvgMax | None
    storage: MinAvgMax | None
    load: MinAvgMax | None
    swap: MinAvgMax | None
    disk_read: MinAvgMax | None
    disk_write: MinAvgMax | None
    net_received: MinAvgMax | None
    net_sent: MinAvgMax | None


class HostLoad(msgspec.Struct, frozen=True):
    """How busy a machine was in a span."""

    host: str
    samples: int
    cpu: MinAvgMax | None


POINT_COLUMNS = ("time", "width", "samples", *(f"{name}_{part}" for name in FIGURES for part in ("min", "avg", "max")))


def flat(point: Point) -> Iterator[object]:
    """Yield a point as the cells of `POINT_COLUMNS`."""
    yield point.time.isoformat()
    yield point.width
    yield point.samples
    for name in FIGURES:
        band: MinAvgMax | None = getattr(point, name)
        yield from (None, None, None) if band is None else (band.min, band.avg, band.max)


@dataclass(frozen=True, slots=True)
class Span:
    """A time from `start` until before `end`."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Return its length."""
        return (self.end - self.start).total_seconds()


WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
MINUTE = 60


def bucket_width(span: Span, points: int) -> int:
    """Return the seconds of a bucket, a handy number such as 5 or 300, so that a span has at most `points` of them."""
    for width in WIDTHS:
        # One more than fits: buckets begin at multiples of their width, so both ends may be cut.
        if span.seconds / width + 1 <= points:
            return width
    days = math.ceil(span.seconds / (max(1, points - 1) * WIDTHS[-1]))
    return days * WIDTHS[-1]


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
