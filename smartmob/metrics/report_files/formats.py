"""The formats of report files, and how the format of a file is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from smartmob.metrics.report_files.asv import AsvReport
from smartmob.metrics.report_files.criterion import CriterionReport
from smartmob.metrics.report_files.go_benchmark import GoBenchmarkReport
from smartmob.metrics.report_files.google_benchmark import GoogleBenchmarkReport
from smartmob.metrics.report_files.hyperfine import HyperfineReport
from smartmob.metrics.report_files.json_document import as_utf8
from smartmob.metrics.report_files.junit import JUnitReport
from smartmob.metrics.report_files.nunit import NUnitReport
from smartmob.metrics.report_files.pytest_benchmark import PytestBenchmarkReport
from smartmob.metrics.report_files.report import ReportFile
from smartmob.metrics.report_files.trx import TrxReport
from smartmob.metrics.report_files.xunit_net import XUnitReport

_BY_HAND = "send its values with POST /metrics/"
_JUNIT = "write JUnit XML with --reporter=junit"
_NOT_READ = (
    (
        "a report of JMH",
        rb'"jmhVersion"|^"Benchmark","Mode","Threads"|^Benchmark\s+(?:\(\w+\)\s+)*Mode\s+Cnt',
        _BY_HAND,
    ),
    ("a report of BenchmarkDotNet", rb'"BenchmarkDotNet(?:Version|Caption)"|^Method[;,](?:.*[;,])?Mean[;,]', _BY_HAND),
    ("a report of Vitest's benchmarks", rb'"hz"\s*:(?s:.{0,4000})"sampleCount"\s*:', _BY_HAND),
    ("a report of Catch2", rb"<Catch2?TestRun\b|<Catch\b", _JUNIT),
    ("the text of cargo bench", rb"^test \S+ +\.\.\. bench: +[0-9,.]+ ns/iter", f"use Criterion.rs, or {_BY_HAND}"),
    ("the text of benchmark.js", rb"^.+ x [0-9,.]+ ops/sec \xc2\xb1", _BY_HAND),
    ("a CSV of Google Benchmark", rb"^name,iterations,real_time,", "write JSON with --benchmark_out=FILE"),
    ("a CSV of hyperfine", rb"^command,mean,stddev,", "write JSON with --export-json FILE"),
    ("JSON of hyperfine without a result", rb'^\{\s*"results"\s*:\s*\[\s*\]', "it has nothing to import"),
)
"""Files that are refused by name: a regular expression for their beginning, and what to do instead."""

PYMON = "pymon"
"""The name of the format that no Report reads, because a database has its own sessions and contexts."""


class ReportFormat(msgspec.Struct, frozen=True):
    """A format that can be read: its name on the command line, and its reader."""

    name: str
    looks_like: Callable[[bytes], bool]
    open: Callable[[Path], ReportFile]
    is_text: bool = True
    """True if `looks_like` gets the beginning of the file in UTF-8 instead of the file's own encoding."""


FORMATS = (
    ReportFormat("junit", JUnitReport.looks_like, JUnitReport, is_text=False),
    ReportFormat("trx", TrxReport.looks_like, TrxReport, is_text=False),
    ReportFormat("nunit", NUnitReport.looks_like, NUnitReport, is_text=False),
    ReportFormat("xunit", XUnitReport.looks_like, XUnitReport, is_text=False),
    ReportFormat("pytest-benchmark", PytestBenchmarkReport.looks_like, PytestBenchmarkReport),
    ReportFormat("asv", AsvReport.looks_like, AsvReport),
    ReportFormat("google-benchmark", GoogleBenchmarkReport.looks_like, GoogleBenchmarkReport),
    ReportFormat("hyperfine", HyperfineReport.looks_like, HyperfineReport),
    ReportFormat("criterion", CriterionReport.looks_like, CriterionReport),
    # It comes last, because its text may contain anything.
    ReportFormat("go-bench", GoBenchmarkReport.looks_like, GoBenchmarkReport),
)

NAMES = (PYMON, *(format_.name for format_ in FORMATS))


def named(name: str) -> ReportFormat:
    """Return the format with a name of NAMES other than PYMON."""
    return next(format_ for format_ in FORMATS if format_.name == name)


def recognised(head: bytes) -> ReportFormat | None:
    """Return the format of a file that begins with `head`, or None."""
    text = as_utf8(head)
    return next((format_ for format_ in FORMATS if format_.looks_like(text if format_.is_text else head)), None)


def unread(head: bytes) -> str | None:
    """Return for a file of a known tool that is not read what it is and what to do, or None for another file."""
    text = as_utf8(head).lstrip()
    for tool, begin, instead in _NOT_READ:
        if re.search(begin, text, re.MULTILINE) is not None:
            return f"is {tool}, which is not read; {instead}"
    return None
