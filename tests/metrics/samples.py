"""Contexts, sessions and metrics as pytest-monitor sends them."""

from __future__ import annotations

from typing import Any


def context(h: str = "c" * 32, **changes: Any) -> dict[str, Any]:
    """Return a context."""
    return {
        "h": h,
        "cpu_count": 8,
        "cpu_frequency": 2596.122,
        "cpu_type": "x86_64",
        "cpu_vendor": "A vendor",
        "ram_total": 16000,
        "machine_node": "rack7",
        "machine_type": "x86_64",
        "machine_arch": "64bit",
        "system_info": "Linux - 6.1",
        "python_info": "3.11.7",
    } | changes


def session(session_h: str = "5" * 32, **changes: Any) -> dict[str, Any]:
    """Return a session."""
    return {
        "session_h": session_h,
        "run_date": "2026-11-20T12:00:00.000123",
        "scm_ref": "0123abc",
        "description": {"pipeline_branch": "main", "pipeline_build_no": "7"},
    } | changes


def metric(**changes: Any) -> dict[str, Any]:
    """Return a metric."""
    return {
        "session_h": "5" * 32,
        "context_h": "c" * 32,
        "item_start_time": "2026-11-20T12:00:01.000456",
        "item_path": "tests.test_sum",
        "item": "test_sum",
        "item_variant": "test_sum[1, 2]",
        "item_fs_loc": "tests/test_sum.py",
        "kind": "function",
        "component": "core",
        "total_time": 1.5,
        "user_time": 1.0,
        "kernel_time": 0.25,
        "cpu_usage": 0.8333,
        "mem_usage": -0.5,
    } | changes
