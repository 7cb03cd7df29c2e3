"""The content of a report file, in the common form of all readers of `smartmob tests import`.

A reader is a class with the attributes of `ReportFile`. It is constructed with the path of a plain file (never a pipe
or a packed file: the caller copies those), and its module or class has `looks_like(head: bytes) -> bool` for the first
`HEAD_BYTES` of a file. It reads its file as a stream: `cases()` opens the file again at each call and yields the same
cases in the same order, because a case is identified by its position in its session.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

HEAD_BYTES = 65_536
"""The bytes at the beginning of a file by which `looks_like` recognises its format."""


class CaseOutcome(enum.StrEnum):
    """The result of one test case. Only passed cases are stored: the cost of others is not comparable."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Remark(msgspec.Struct, frozen=True):
    """A value in a report that was not understood or was replaced.

    `kind` groups remarks of a summary and is a short plain phrase, such as "unread time" or "replaced timestamp".
    `text` is the example: the value and the test or line where it stands.
    """

    kind: str
    text: str


class ReportedMachine(msgspec.Struct, frozen=True):
    """The machine and the interpreter of a case. A value that the report does not have is None."""

    node: str | None = None
    cpu_count: int | None = None
    cpu_frequency_mhz: float | None = None
    cpu_type: str | None = None
    cpu_vendor: str | None = None
    ram_total_mb: int | None = None
    machine_type: str | None = None
    machine_arch: str | None = None
    system_info: str | None = None
    python_info: str | None = None


UNKNOWN_MACHINE = ReportedMachine()


class Case(msgspec.Struct, frozen=True):
    """One execution of one test, as the report describes it.

    Times are in seconds, memory is in MB, `cpu_usage` is a share of one core. A value that the report lacks is None,
    never a substitute. `started_at` has a zone if the report gives one; a time without a zone is the local time of the
    machine that wrote the report.
    """

    path: str
    """The module, class or package: `item_path` of a metric."""
    name: str
    """The name of the test without its parameters: `item` of a metric."""
    variant: str
    """The name of the test with its parameters: `item_variant` of a metric."""
    outcome: CaseOutcome
    total_time: float | None = None
    started_at: datetime | None = None
    location: str = ""
    """The source file: `item_fs_loc` of a metric."""
    kind: str = "function"
    user_time: float | None = None
    kernel_time: float | None = None
    cpu_usage: float | None = None
    mem_usage: float | None = None
    machine: ReportedMachine = UNKNOWN_MACHINE
    remarks: tuple[Remark, ...] = ()


class Header(msgspec.Struct):
    """The part of a report that belongs to all its cases. It is complete when `cases()` has been read to its end."""

    suites: int = 0
    scm_ref: str | None = None
    started_at: datetime | None = None
    properties: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Properties of the outermost suite or of the file, which become tags."""
    remarks: list[Remark] = msgspec.field(default_factory=list)
    """Remarks that belong to no case."""


class ReportFile(Protocol):
    """A report file of one format."""

    format_name: str
    """The name of the format for people, such as "JUnit XML"."""
    header: Header

    def cases(self) -> Iterator[Case]:
        """Yield the cases of the file in their order. Raises InvalidInput when the file is not of this format."""
