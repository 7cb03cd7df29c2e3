"""The data that benchmarks send: one machine, one session, and any number of metrics and tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson

CONTEXT_H = "c" * 32
SESSION_H = "5" * 32
CONTEXT: dict[str, Any] = {
    "h": CONTEXT_H,
    "cpu_count": 8,
    "cpu_frequency": 2596,
    "cpu_type": "x86_64",
    "cpu_vendor": "A vendor",
    "ram_total": 16000,
    "machine_node": "rack7",
    "machine_type": "x86_64",
    "machine_arch": "64bit",
    "system_info": "Linux - 6.1",
    "python_info": "3.11.7",
}
SESSION: dict[str, Any] = {
    "session_h": SESSION_H,
    "run_date": "2026-11-20T12:00:00.000123",
    "scm_ref": "0123456789abcdef0123456789abcdef01234567",
    "description": {"pipeline_branch": "main", "pipeline_build_no": "7"},
}
_EXECUTIONS_OF_A_TEST = 20
_METRICS_OF_A_SESSION = 10_000


def metric(number: int, test: int, session_h: str, moment: datetime) -> dict[str, Any]:
    """Return one metric as pytest-monitor sends it, about 430 bytes of JSON."""
    module = test // 25
    return {
        "session_h": session_h,
        "context_h": CONTEXT_H,
        "item_start_time": moment.isoformat(),
        "item_path": f"tests.package_{module // 40}.test_module_{module}",
        "item": f"test_case_{test}",
        "item_variant": f"test_case_{test}[{test % 7}-value_{test % 11}]",
        "item_fs_loc": f"tests/package_{module // 40}/test_module_{module}.py",
        "kind": "function",
        "component": f"component_{module // 40}",
        "total_time": 0.5 + number % 1009 * 0.001,
        "user_time": 0.25 + number % 997 * 0.001,
        "kernel_time": number % 89 * 0.0001,
        "cpu_usage": 0.5 + number % 499 * 0.001,
        "mem_usage": number % 4093 * 0.03125 - 16.0,
    }


def posts(tests: int, sessions: int = 1) -> Iterator[bytes]:
    """Yield one JSON document for each of some tests, by turns of some sessions that are going on now."""
    now = datetime.now()
    for test in range(tests):
        session_h = SESSION_H if sessions == 1 else f"{test % sessions:032x}"
        yield orjson.dumps(metric(test, test, session_h, now))


def ndjson(first: int, rows: int) -> bytes:
    """Return the metrics `first` to `first + rows` of an endless supply.

    Ten thousand make a session, and a test is executed twenty times in `rows` metrics.
    """
    start = datetime(2026, 1, 1) + timedelta(milliseconds=first)
    tests = max(1, rows // _EXECUTIONS_OF_A_TEST)
    lines = []
    for number in range(first, first + rows):
        session_h = f"{number // _METRICS_OF_A_SESSION:032x}"
        lines.append(orjson.dumps(metric(number, number % tests, session_h, start + timedelta(milliseconds=number))))
    return b"\n".join(lines) + b"\n"
