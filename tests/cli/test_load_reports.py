"""Files that are written from a stored load test: tables, reports and figures made anew."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.cli.firing import _project, _smartmob, fire_ten
from tests.turrets.conftest import Recruit, _lab, _recruit

__all__ = ["_lab", "_project", "_recruit", "_smartmob"]

pytestmark = pytest.mark.timeout(900)


async def test_csv_report_and_rebuilding(
    lab: Any, recruit: Recruit, smartmob: Any, project: Path, tmp_path: Path
) -> None:
    """The columns of OCT's own command, a page for one run and for two, and the same figures made anew."""
    await fire_ten(lab, recruit, smartmob, project)
    table, page = tmp_path / "results.csv", tmp_path / "page.html"

    code, _, errors = await smartmob("results-to-csv", "last", table)
    assert (code, errors) == (0, f"{table}: 10 results\n")
    rows = list(csv.reader(table.read_text().splitlines(), delimiter=";"))
    assert rows[0] == ["elapsed time", "epoch (in seconds)", "turret name", "transaction time", "error"]
    assert [row[3:] for row in rows[-2:]] == [["0.1", ""], ["0.4", "boom"]]

    for arguments in (("report", "last"), ("report", "last", "--against", "last"), ("rebuild-results", "last")):
        page.unlink(missing_ok=True)
        code, _, errors = await smartmob(*arguments, "-o", page)
        assert (code, page.exists()) == (0, True), errors
    assert "10 transactions, 1 error" in errors


async def test_without_a_run_the_error_explains_how_to_start_one(smartmob: Any) -> None:
    """The error has the command that starts a run."""
    code, _, errors = await smartmob("report", "last")
    assert (code, "smartmob fire PROJECT" in errors) == (1, True)


async def test_no_report_of_an_unknown_run_is_written(smartmob: Any, tmp_path: Path) -> None:
    """Nothing is written."""
    code, _, errors = await smartmob("report", "a/b", "-o", tmp_path / "x.html")
    assert (code, "there is no load test a/b" in errors) == (1, True)


async def test_a_file_that_cannot_be_written(lab: Any, recruit: Recruit, smartmob: Any, project: Path) -> None:
    """The error names the file and the reason."""
    await fire_ten(lab, recruit, smartmob, project)
    code, _, errors = await smartmob("report", "last", "-o", "/nowhere/x.html")
    assert (code, errors) == (1, "smartmob: cannot write /nowhere/x.html: No such file or directory\n")
