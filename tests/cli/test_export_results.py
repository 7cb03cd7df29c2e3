"""`smartmob tests export`: the real command against a running service."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.measured import fill
from tests.metrics.samples import metric

pytestmark = pytest.mark.timeout(900)


class TestExport:
    """Files that are written."""

    async def test_csv_and_lines_go_to_standard_output(self, client: Any, tests: Any) -> None:
        """To standard output, so that they can be piped."""
        await fill(client)

        code, output, errors = await tests("export")
        assert (code, errors) == (0, "3 metrics written\n")
        assert [row["item"] for row in csv.DictReader(io.StringIO(output))] == ["test_0", "test_1", "test_2"]
        _, output, _ = await tests("export", "--format", "ndjson")
        assert [json.loads(line)["item"] for line in output.splitlines()] == ["test_0", "test_1", "test_2"]

    async def test_an_exported_database_can_be_imported(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """A database of pytest-monitor that was exported is the same after it was imported."""
        await fill(client)
        await client.post("/metrics/", json=metric(session_h="other", context_h="unknown"))
        path = tmp_path / "out.pymon"

        assert (await tests("export", "--format", "pymon", "-o", path, "--run", "ab" * 16))[0] == 0

        database = sqlite3.connect(path)
        assert [row[0] for row in database.execute("SELECT ITEM FROM TEST_METRICS")] == ["test_0", "test_1", "test_2"]
        assert database.execute("SELECT * FROM TEST_SESSIONS").fetchall() == [
            ("ab" * 16, "2026-11-20T12:00:00.000123", "0123abc", '{"branch":"main"}')
        ]
        assert [row[0] for row in database.execute("SELECT MACHINE_NODE FROM EXECUTION_CONTEXTS")] == ["rack7"]
        database.close()
        await client.delete(f"/sessions/{'ab' * 16}")
        assert "3 metrics stored" in (await tests("import", path))[2]

    async def test_an_existing_file_is_replaced_only_on_request(self, client: Any, tests: Any, tmp_path: Path) -> None:
        """It is replaced as a whole or not at all."""
        await fill(client)
        path = tmp_path / "out.csv"
        path.write_text("mine")

        code, _, errors = await tests("export", "-o", path)
        assert (code, "--force" in errors, path.read_text()) == (1, True, "mine")
        assert (await tests("export", "-o", path, "--force"))[0] == 0
        assert path.read_text().startswith("session_h,")
        assert not list(tmp_path.glob("*.part"))

    async def test_a_database_needs_a_file(self, tests: Any) -> None:
        """The error names the missing option."""
        code, _, errors = await tests("export", "--format", "pymon")
        assert (code, "--output FILE" in errors) == (1, True)
