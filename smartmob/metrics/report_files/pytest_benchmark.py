"""Reads the JSON of pytest-benchmark (`--benchmark-json`, and the files of its storage)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec

from smartmob.metrics.model import BENCHMARK
from smartmob.metrics.report_files import json_document
from smartmob.metrics.report_files.json_document import number, seconds, text, whole
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark, ReportedMachine

_HERTZ_PER_MHZ = 1e6


class _SavedRun(msgspec.Struct):
    benchmarks: list[msgspec.Raw]
    machine_info: dict[str, Any] | None = None
    commit_info: dict[str, Any] | None = None
    datetime: Any = None


class _SavedBenchmark(msgspec.Struct):
    name: str
    fullname: str = ""
    stats: dict[str, msgspec.Raw] | None = None


class PytestBenchmarkReport:
    """One run of benchmarks. The time of a benchmark is the median of its rounds, in seconds per iteration."""

    format_name = "pytest-benchmark JSON"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return b'"machine_info"' in head or (b'"benchmarks"' in head and b'"fullname"' in head and b'"stats"' in head)

    def cases(self) -> Iterator[Case]:
        """Yield the benchmarks. Raises InvalidInput."""
        document = json_document.read(self._path, _SavedRun)
        commit = document.commit_info or {}
        began = json_document.moment(document.datetime)
        if began is not None and began.tzinfo is None:
            # Releases before 5.1 wrote UTC without a zone.
            began = began.replace(tzinfo=UTC)
        scm_ref = text(commit.get("id"))
        self.header = Header(
            suites=1,
            scm_ref=None if scm_ref == "unversioned" else scm_ref,
            started_at=began,
            properties=_properties(commit),
        )
        machine = _machine(document.machine_info or {})
        for number_, raw in enumerate(document.benchmarks, 1):
            found = json_document.row(raw, _SavedBenchmark)
            if found is None:
                said = Remark("unread row", f"benchmark {number_} cannot be read")
                self.header.remarks.append(said)
                continue
            yield _case(found, machine)


def _case(found: _SavedBenchmark, machine: ReportedMachine) -> Case:
    location, _, rest = found.fullname.partition("::")
    classes = rest.partition("[")[0].split("::")[:-1]
    module = location.removesuffix(".py").replace("/", ".").replace("\\", ".")
    took, remarks = None, []
    if found.stats is None:
        outcome = CaseOutcome.FAILED
    else:
        outcome = CaseOutcome.PASSED
        took = _seconds_of(found.stats.get("median"))
        if took is None and (took := _seconds_of(found.stats.get("mean"))) is not None:
            remarks.append(Remark("replaced time", f"{found.name} has no median; the mean was taken"))
        if took is None:
            remarks.append(Remark("unread time", f"{found.name} has neither a median nor a mean"))
    return Case(
        path=".".join((module, *classes)) if rest else "",
        name=found.name.partition("[")[0],
        variant=found.name,
        outcome=outcome,
        total_time=took,
        kind=BENCHMARK,
        location=location if rest else "",
        machine=machine,
        remarks=tuple(remarks),
    )


def _seconds_of(raw: msgspec.Raw | None) -> float | None:
    try:
        return None if raw is None else seconds(msgspec.json.decode(raw))
    except msgspec.MsgspecError:
        return None


def _properties(commit: Mapping[str, Any]) -> dict[str, str]:
    branch = text(commit.get("branch"))
    found = {"branch": None if branch in ("(unknown)", "(detached head)") else branch}
    found["project"] = text(commit.get("project"))
    return {name: value for name, value in found.items() if value is not None}


def _machine(info: Mapping[str, Any]) -> ReportedMachine:
    cpu = info.get("cpu")
    cpu = cpu if isinstance(cpu, dict) else {}
    hertz = cpu.get("hz_actual") or cpu.get("hz_actual_raw") or cpu.get("hz_advertised")
    frequency = number(hertz[0]) if isinstance(hertz, list) and hertz else None
    bits, system = whole(cpu.get("bits")), text(info.get("system"))
    python = [text(info.get("python_implementation")), text(info.get("python_version"))]
    return ReportedMachine(
        node=text(info.get("node")),
        cpu_count=whole(cpu.get("count")),
        cpu_frequency_mhz=None if frequency is None else frequency / _HERTZ_PER_MHZ,
        cpu_type=text(info.get("processor")),
        cpu_vendor=text(cpu.get("brand_raw")) or text(cpu.get("brand")),
        machine_type=text(info.get("machine")),
        machine_arch=None if bits is None else f"{bits}bit",
        system_info=None if system is None else f"{system} - {text(info.get('release')) or ''}".rstrip(" -"),
        python_info=" ".join(part for part in python if part) or None,
    )
