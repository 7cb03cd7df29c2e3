"""Reads the JSON of hyperfine (`--export-json`)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from smartmob.counts import counted
from smartmob.metrics.model import BYTES_PER_MB
from smartmob.metrics.report_files import json_document
from smartmob.metrics.report_files.json_document import number, seconds
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark


class _CommandResults(msgspec.Struct):
    results: list[msgspec.Raw]


class _CommandResult(msgspec.Struct):
    command: str
    mean: Any = None
    user: Any = None
    system: Any = None
    times: list[Any] | None = None
    exit_codes: list[Any] | None = None
    memory_usage_byte: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class HyperfineReport:
    """Commands with their mean times, which hyperfine itself compares.

    A run that ended with another exit code than 0 is not counted; hyperfine's own mean contains it.
    """

    format_name = "hyperfine JSON"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return b'"results"' in head and b'"command"' in head and (b'"mean"' in head or b'"times"' in head)

    def cases(self) -> Iterator[Case]:
        """Yield the commands. Raises InvalidInput."""
        document = json_document.read(self._path, _CommandResults)
        self.header = Header(suites=1)
        for position, raw in enumerate(document.results, 1):
            found = json_document.row(raw, _CommandResult)
            if found is None:
                self.header.remarks.append(Remark("unread row", f"result {position} cannot be read"))
                continue
            yield _case(found)


def _case(found: _CommandResult) -> Case:
    name = found.command.strip()
    given = ", ".join(f"{key}={value}" for key, value in (found.parameters or {}).items())
    times, codes = found.times or [], found.exit_codes or []
    good = [index for index in range(len(times)) if index >= len(codes) or codes[index] == 0]
    failed = [code for code in codes if code != 0]  # null is the code of a command that a signal ended
    remarks = []
    if failed and (not good or not times):
        outcome, took, user, kernel = CaseOutcome.FAILED, None, None, None
    elif failed:
        outcome, took, user, kernel = CaseOutcome.PASSED, _mean(times, good), None, None
        remarks.append(
            Remark("failed runs", f"{len(failed)} of {counted(len(codes), 'run')} of {name} failed; the others count")
        )
    else:
        outcome = CaseOutcome.PASSED
        took, user, kernel = seconds(found.mean), seconds(found.user), seconds(found.system)
        if took is None:
            took = _mean(times, good)
    if outcome is CaseOutcome.PASSED and took is None:
        remarks.append(Remark("unread time", f"{name}: the mean is {found.mean!r}"))
    busy = None if user is None or kernel is None or not took else (user + kernel) / took
    return Case(
        path="",
        name=name,
        variant=f"{name} [{given}]" if given else name,
        outcome=outcome,
        total_time=took,
        kind="command",
        user_time=user,
        kernel_time=kernel,
        cpu_usage=busy,
        mem_usage=_megabytes(found.memory_usage_byte or []),
        remarks=tuple(remarks),
    )


def _mean(times: Sequence[Any], positions: Sequence[int]) -> float | None:
    known = [value for position in positions if (value := seconds(times[position])) is not None]
    return statistics.fmean(known) if known else None


def _megabytes(values: Sequence[Any]) -> float | None:
    known = [value for given in values if (value := number(given)) is not None and value >= 0]
    return max(known) / BYTES_PER_MB if known else None
