"""The cases and remarks of a report as text, the form of the files with the expected content of the inputs."""

from __future__ import annotations

from collections.abc import Iterator

from smartmob.metrics.report_files.report import Case, ReportFile


def told(report: ReportFile) -> str:
    """Return a line for each case and each remark, and the header at the end."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: ReportFile) -> Iterator[str]:
    for case in report.cases():
        yield _case(case)
        yield from (f"  remark: {remark.kind}: {remark.text}" for remark in case.remarks)
    header = report.header
    yield f"suites={header.suites} started_at={header.started_at} scm_ref={header.scm_ref}"
    yield from (f"property: {name}={value}" for name, value in header.properties.items())
    yield from (f"remark: {remark.kind}: {remark.text}" for remark in header.remarks)


def _case(case: Case) -> str:
    time = "unknown" if case.total_time is None else f"{case.total_time:.9g} s"
    parts = [case.outcome.value, f"{case.path} :: {case.variant}", f"item={case.name}", time, f"at {case.started_at}"]
    machine = case.machine
    parts += [f"file={case.location}"] if case.location else []
    parts += [f"host={machine.node}"] if machine.node else []
    parts += [f"system={machine.system_info} {machine.machine_arch}"] if machine.system_info else []
    return " | ".join(parts)
