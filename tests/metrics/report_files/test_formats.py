"""The format of a file is recognised by its beginning."""

from __future__ import annotations

import pytest

from smartmob.metrics.report_files import formats

HEADS = {
    "junit": b'<?xml version="1.0"?>\n<testsuites><testsuite name="a">',
    "pytest-benchmark": b'{\n  "machine_info": {"node": "x"}, "commit_info": {',
    "asv": b'{"commit_hash": "a", "env_name": "e", "params": {}, "requirements": {}, "result_columns": [',
    "google-benchmark": b'{\n"context": {"date": "x", "num_cpus": 8',
    "hyperfine": b'{\n  "results": [\n    {\n      "command": "sleep 1",\n      "mean": 1.0',
    "criterion": b'{"mean":{"confidence_interval":{"confidence_level":0.95},"point_estimate":1.0',
    "go-bench": b"warning: x\ngoos: linux\ngoarch: amd64\n",
}


def test_each_format_is_recognised_and_has_a_name() -> None:
    """Names on the command line and examples are complete."""
    assert {name: getattr(formats.recognised(head), "name", None) for name, head in HEADS.items()} == {
        name: name for name in HEADS
    }
    assert set(HEADS) <= set(formats.NAMES)
    assert all(formats.named(name).name == name for name in HEADS)


def test_text_formats_are_recognised_in_utf_16() -> None:
    """PowerShell writes it."""
    for name in HEADS.keys() - {"junit"}:
        found = formats.recognised(HEADS[name].decode().encode("utf-16"))
        assert found is not None
        assert found.name == name


@pytest.mark.parametrize(
    ("head", "tool"),
    [
        (b'[\n    {\n        "jmhVersion" : "1.37",\n        "benchmark" : "org.A.b",', "JMH"),
        (b'"Benchmark","Mode","Threads","Samples","Score"\n', "JMH"),
        (b"Benchmark                 (size)  Mode  Cnt   Score   Error  Units\n", "JMH"),
        (b"Benchmark  Mode  Cnt   Score   Error  Units\n", "JMH"),
        (b'{\n"Title":"A","HostEnvironmentInfo":{"BenchmarkDotNetCaption":"BenchmarkDotNet",', "BenchmarkDotNet"),
        (b"Method;Job;Runtime;Mean;Error;StdDev\n", "BenchmarkDotNet"),
        (b'{"files": [{"groups": [{"benchmarks": [{"hz": 12.5, "sampleCount": 7}]}]}]}', "Vitest"),
        (b'<?xml version="1.0"?>\n<Catch2TestRun name="a">', "Catch2"),
        (b"\nrunning 1 test\ntest bench_add ... bench:       1,034 ns/iter (+/- 12)\n", "cargo bench"),
        ("RegExp#test x 12,345 ops/sec ±1.2% (90 runs sampled)\n".encode(), "benchmark.js"),
        (b"name,iterations,real_time,cpu_time,time_unit\n", "Google Benchmark"),
        (b"command,mean,stddev,median,user,system,min,max\n", "hyperfine"),
        (b'{"results": []}', "hyperfine"),
    ],
)
def test_files_of_known_tools_are_refused_by_name(head: bytes, tool: str) -> None:
    """The reason says what to do instead."""
    assert formats.recognised(head) is None
    reason = formats.unread(head)
    assert reason is not None
    assert tool in reason.partition(", which is not read; ")[0]
    assert formats.unread(b"hello") is None


@pytest.mark.parametrize(
    "head", [b"", b"hello", b"{}", b"[]", b'{"results": []}', b"<html><body>", b"\x00\xff" * 100, b"Benchmark results"]
)
def test_other_files_are_not_recognised(head: bytes) -> None:
    """They are passed over, or refused."""
    assert formats.recognised(head) is None
