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
    "head", [b"", b"hello", b"{}", b"[]", b'{"results": []}', b"<html><body>", b"\x00\xff" * 100, b"Benchmark results"]
)
def test_other_files_are_not_recognised(head: bytes) -> None:
    """They are passed over, or refused."""
    assert formats.recognised(head) is None
