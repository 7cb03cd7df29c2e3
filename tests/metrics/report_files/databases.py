"""Databases as pytest-monitor writes them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from smartmob.metrics.report_files import pymon
from tests.metrics.samples import context


def write_pymon(path: Path, sessions: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> None:
    """Write a database as pytest-monitor does."""
    database = sqlite3.connect(path)
    for statement in pymon.CREATE:
        database.execute(statement)
    row = context()
    database.execute(
        f"INSERT INTO EXECUTION_CONTEXTS ({', '.join(pymon.CONTEXT_COLUMNS.values())}) VALUES ({'?, ' * 10}?)",
        [row[name] for name in pymon.CONTEXT_COLUMNS],
    )
    for row in sessions:
        database.execute(
            "INSERT INTO TEST_SESSIONS VALUES (?, ?, ?, ?)",
            (row["session_h"], row["run_date"], row["scm_ref"], row["description"]),
        )
    for row in metrics:
        database.execute(
            f"INSERT INTO TEST_METRICS ({', '.join(pymon.METRIC_COLUMNS.values())}) VALUES ({'?, ' * 13}?)",
            [row[name] for name in pymon.METRIC_COLUMNS],
        )
    database.commit()
    database.close()
