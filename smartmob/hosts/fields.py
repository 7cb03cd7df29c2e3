"""The table of the fields of a host sample, and what is derived from it: messages, columns, aggregates. No I/O.

The feature's queries, its gauges, the tables of `smartmob hosts` and the documentation are also made from it. To add a
field, add a `SampleField` to `FIELDS` and a line to `SampleValues`, and write a migration that adds a column to
`host_samples` and the columns of `MINUTE_PARTS` to `host_minutes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import UnionType
from typing import Any, Generic, TypeVar

import msgspec

VALUE_BOUND = 1e18
"""Values in any unit are from 0 to below this."""
MEGABYTE = 2**20
"""Bytes of the unit in which clients send memory, storage and swap (seed 001)."""

PROCESSORS, LOAD, MEMORY, SWAP, STORAGE, DISKS, NETWORKS, TEMPERATURES = (
    *("processors", "load", "memory", "swap", "storage", "disks", "networks", "temperatures"),
)
"""The sources of the values. Each is read separately, so one that fails or hangs does not affect the others."""

T = TypeVar("T")


class Memory(msgspec.Struct, frozen=True):
    """Memory in bytes; `percent` of it is in use. Values that the platform does not provide are 0."""

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
    """A disk in bytes; `percent` of it is in use."""

    total: int
    percent: float
    used: int
    free: int


class StaleField(msgspec.Struct, frozen=True):
    """A field that could not be measured: its last value, the age of that value in seconds, and the reason.

    The value is in the unit of the field. It and its age are None when the field was never measured.
    """

    value: float | None = None
    age: float | None = None
    reason: str = ""


class Container(msgspec.Struct, frozen=True):
    """The limits of the container to which the values belong: memory in bytes, and processors; None means no limit."""

    memory: int | None = None
    cpus: float | None = None


class FileSystem(msgspec.Struct, frozen=True):
    """The use of a measured file system, in MB."""

    used: float
    total: float


def container_text(container: Container) -> str:
    """Return in words to which machine or container the fields of processors and memory belong."""
    limits = [] if container.memory is None else [f"{container.memory / 1e6:,.0f} MB of memory"]
    limits += [] if container.cpus is None else [f"{container.cpus:g} processor{'' if container.cpus == 1 else 's'}"]
    limited = ["memory"] * (container.memory is not None) + ["processor load"] * (container.cpus is not None)
    return f"{' and '.join(limited)} are those of the container, which may use {' and '.join(limits)}"


class Snapshot(msgspec.Struct, frozen=True):
    """One reading of the machine on which this program runs. Fields that could not be measured are None.

    `at` is in seconds since 1970. Loads are percentages, sizes are bytes, rates are bytes per second since the snapshot
    before, temperatures are degrees Celsius. `measured` has the values of the fields that have a `measure`. `stale` has
    the fields that could not be measured, by the names of fields. In a `container` with limits, the processor load and
    the memory are those of the container. `storage` is the sum of the `file_systems`, which have the use of each one by
    its configured folder.
    """

    at: float
    cpu: float | None
    cores: list[float]
    load: tuple[float, float, float] | None
    memory: Memory | None
    swap_used: int | None
    swap_total: int | None
    storage: Storage | None
    disk_read: float | None
    disk_write: float | None
    net_received: float | None
    net_sent: float | None
    temperatures: dict[str, float]
    measured: dict[str, float] = {}
    stale: dict[str, StaleField] = {}
    container: Container | None = None
    file_systems: dict[str, Storage] = {}


class Unit(Enum):
    """The unit of a field in samples, messages and the database."""

    PERCENT = "%"
    MEGABYTES = "MB"
    BYTES_PER_SECOND = "bytes/s"
    NONE = ""


class SampleField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a host sample.

    `name` is its key in messages and its column. `title` heads it in tables, `help` describes it. The value comes from
    a snapshot by `read`, or is measured by `measure`, which may do I/O; sizes are read in bytes and stored in MB.
    `source` is the source of `read`, which is read as a whole: when that fails, all its fields are stale. `gauge` is
    the name in Prometheus (sizes in bytes). `aliases` are further keys in messages, which have precedence.
    """

    name: str
    unit: Unit
    title: str
    help: str
    read: Callable[[Snapshot], float | None] | None = None
    measure: Callable[[], float] | None = None
    source: str = ""
    gauge: str | None = None
    aliases: tuple[str, ...] = ()
    seed: bool = False
    """The field is one of seed 001."""
    listed: bool = False
    """`smartmob hosts ls` has a column for it."""
    live: str | None = None
    """The column of `smartmob hosts watch`; fields with the same column are joined."""
    column_type: str = "double precision"
    """The type of the column in PostgreSQL."""

    def raw(self, snapshot: Snapshot) -> float | None:
        """Return the value in a snapshot, sizes in bytes, or None when it could not be measured or is impossible.

        Some containers show more free swap space than exists. With such a value a service would refuse the whole
        sample.
        """
        value = snapshot.measured.get(self.name) if self.read is None else self.read(snapshot)
        return value if value is not None and 0 <= value < VALUE_BOUND else None

    def value(self, snapshot: Snapshot) -> float | None:
        """Return the value in a snapshot in the unit of the field, or None when it could not be measured."""
        raw = self.raw(snapshot)
        return raw if raw is None or self.unit is not Unit.MEGABYTES else raw // MEGABYTE


FIELDS = (
    SampleField(
        name="cpu",
        unit=Unit.PERCENT,
        title="CPU",
        help="Load of all processors.",
        read=lambda snapshot: snapshot.cpu,
        source=PROCESSORS,
        gauge="smartmob_host_cpu_percent",
        aliases=("cpu_load",),
        seed=True,
        listed=True,
        live="CPU",
    ),
    SampleField(
        name="mem",
        unit=Unit.MEGABYTES,
        title="Memory",
        help="Memory in use.",
        read=lambda snapshot: None if snapshot.memory is None else snapshot.memory.used,
        source=MEMORY,
        gauge="smartmob_host_memory_used_bytes",
        seed=True,
        listed=True,
        live="Memory",
    ),
    SampleField(
        name="storage",
        unit=Unit.MEGABYTES,
        title="Storage",
        help="Disk space in use.",
        read=lambda snapshot: None if snapshot.storage is None else snapshot.storage.used,
        source=STORAGE,
        gauge="smartmob_host_storage_used_bytes",
        seed=True,
        listed=True,
    ),
    # Its gauge has three values, for 1, 5 and 15 minutes, and stands in sampler/gauges.py.
    SampleField(
        name="load",
        unit=Unit.NONE,
        title="Load",
        help="Load average of one minute.",
        read=lambda snapshot: None if snapshot.load is None else snapshot.load[0],
        source=LOAD,
        listed=True,
    ),
    SampleField(
        name="swap",
        unit=Unit.MEGABYTES,
        title="Swap",
        help="Swap space in use.",
        read=lambda snapshot: snapshot.swap_used,
        source=SWAP,
        gauge="smartmob_host_swap_used_bytes",
    ),
    SampleField(
        name="disk_read",
        unit=Unit.BYTES_PER_SECOND,
        title="Disk read",
        help="Read from disks.",
        read=lambda snapshot: snapshot.disk_read,
        source=DISKS,
        gauge="smartmob_host_disk_read_bytes_per_second",
        live="Disk r/w",
    ),
    SampleField(
        name="disk_write",
        unit=Unit.BYTES_PER_SECOND,
        title="Disk written",
        help="Written to disks.",
        read=lambda snapshot: snapshot.disk_write,
        source=DISKS,
        gauge="smartmob_host_disk_write_bytes_per_second",
        live="Disk r/w",
    ),
    SampleField(
        name="net_received",
        unit=Unit.BYTES_PER_SECOND,
        title="Net received",
        help="Received from networks.",
        read=lambda snapshot: snapshot.net_received,
        source=NETWORKS,
        gauge="smartmob_host_net_received_bytes_per_second",
        live="Net in/out",
    ),
    SampleField(
        name="net_sent",
        unit=Unit.BYTES_PER_SECOND,
        title="Net sent",
        help="Sent to networks.",
        read=lambda snapshot: snapshot.net_sent,
        source=NETWORKS,
        gauge="smartmob_host_net_sent_bytes_per_second",
        live="Net in/out",
    ),
)


class SampleValues(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One value for each field of `FIELDS`, in the same order, for the type checker and the schemas."""

    cpu: T
    mem: T
    storage: T
    load: T
    swap: T
    disk_read: T
    disk_write: T
    net_received: T
    net_sent: T


NAMES = tuple(field.name for field in FIELDS)
"""The names of the fields, in the order of their columns."""


def message_fields(number: type | UnionType) -> list[tuple[str, Any, Any]]:
    """Return name, type and default of the keys of a sample message that hold numbers; `number` is their type."""
    keys = [
        *(name for field in FIELDS if field.seed for name in (*field.aliases, field.name)),
        *("time", "unix_time"),
        *(name for field in FIELDS if not field.seed for name in (*field.aliases, field.name)),
    ]
    return [(key, number | None, None) for key in keys]


def values_of(snapshot: Snapshot) -> dict[str, float | None]:
    """Return the values of a snapshot under the keys of a message: the first alias where a field has one."""
    return {(*field.aliases, field.name)[0]: field.value(snapshot) for field in FIELDS}


MINUTE_PARTS = {"min": "min({0})", "max": "max({0})", "sum": "sum({0})", "n": "count({0})"}
"""The columns of a field in `host_minutes`, each with its aggregate."""


def query_parts() -> dict[str, str]:
    """Return the SQL for the placeholders in queries.sql."""
    columns = [f"{name}_{part}" for name in NAMES for part in MINUTE_PARTS]
    arrays = [f"${number}::{field.column_type}[]" for number, field in enumerate(FIELDS, start=4)]
    return {
        "columns": ", ".join(NAMES),
        "column_arrays": ", ".join(arrays),
        "detail_array": f"${4 + len(FIELDS)}::text[]",
        "sample_columns": ", ".join(f"s.{name}" for name in NAMES),
        "minute_columns": ", ".join(columns),
        "minute_updates": ", ".join(f"{column} = excluded.{column}" for column in columns),
        "aggregates": ", ".join(call.format(name) for name in NAMES for call in MINUTE_PARTS.values()),
        "sample_min_avg_max": ", ".join(
            f"min({f}) AS {f}_min, avg({f}) AS {f}_avg, max({f}) AS {f}_max" for f in NAMES
        ),
        "minute_min_avg_max": ", ".join(
            f"min({f}_min) AS {f}_min, sum({f}_sum) / nullif(sum({f}_n), 0) AS {f}_avg, max({f}_max) AS {f}_max"
            for f in NAMES
        ),
    }


def totals_of(snapshot: Snapshot) -> dict[str, float]:
    """Return how much there is of what is used, in MB. In a container with a limit the memory is that limit."""
    memory, storage = snapshot.memory, snapshot.storage
    found = {
        "mem": None if memory is None else memory.total,
        "swap": snapshot.swap_total,
        "storage": None if storage is None else storage.total,
    }
    return {name: total // MEGABYTE for name, total in found.items() if total}


def file_systems_of(snapshot: Snapshot) -> dict[str, FileSystem]:
    """Return the use of each measured file system, by its folder."""
    return {
        folder: FileSystem(each.used // MEGABYTE, each.total // MEGABYTE)
        for folder, each in snapshot.file_systems.items()
    }


def wrong_sizes(totals: Mapping[str, float], file_systems: Mapping[str, FileSystem]) -> list[str]:
    """Return the keys, `totals` or `file_systems`, that have a size below 0, no number, or a name not printable."""
    parts = [(name, size) for name, each in file_systems.items() for size in (each.used, each.total)]
    groups = {"totals": list(totals.items()), "file_systems": parts}
    return [
        key
        for key, sizes in groups.items()
        if not all(name.isprintable() and 0 <= size < VALUE_BOUND for name, size in sizes)
    ]


def printable(name: str) -> str:
    """Return a text in which each unprintable character is replaced."""
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def printable_texts(value: Any) -> Any:
    """Return a JSON document in which each unprintable character of a text is replaced."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_texts(item) for item in value]
    if isinstance(value, dict):
        return {printable(name): printable_texts(item) for name, item in value.items()}
    return value
