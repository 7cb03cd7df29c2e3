"""TRX, the results of Visual Studio and `dotnet test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import trx
from smartmob.metrics.report_files.trx import TrxReport
from tests.metrics.report_files.telling import told

FOLDER = Path(__file__).parent / "trx"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.trx")))
def test_a_file_is_read_as_its_author_meant_it(name: str) -> None:
    """Each input of the folder gives the cases and remarks of the file beside it, also when it is read again."""
    path = FOLDER / name
    report = TrxReport(path)
    expected = path.with_suffix(".expected").read_text(encoding="utf-8")
    assert told(report) == expected
    assert told(report) == expected
    assert TrxReport.looks_like(path.read_bytes()[:65536])


def test_utf_16_is_read(tmp_path: Path) -> None:
    """Visual Studio writes files with a byte order mark."""
    path = tmp_path / "a.trx"
    path.write_bytes((FOLDER / "vstest.trx").read_text(encoding="utf-8").replace("utf-8", "utf-16").encode("utf-16"))
    assert told(TrxReport(path)) == told(TrxReport(FOLDER / "vstest.trx"))
    assert TrxReport.looks_like(path.read_bytes()[:65536])


def test_a_test_run_of_cppunit_is_no_trx(tmp_path: Path) -> None:
    """Its root element has the same name."""
    content = b"<?xml version='1.0'?><TestRun><FailedTests/><SuccessfulTests><Test id='1'/></SuccessfulTests></TestRun>"
    assert not TrxReport.looks_like(content)
    assert not TrxReport.looks_like(b"<testsuite/>")
    path = tmp_path / "a.trx"
    path.write_bytes(b"<testsuite/>")
    with pytest.raises(InvalidInput, match="is not TRX: it begins with <testsuite>"):
        list(TrxReport(path).cases())


def test_the_number_of_definitions_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept in memory, so that a file with more is refused."""
    monkeypatch.setattr(trx, "MAX_TESTS", 3)
    with pytest.raises(InvalidInput, match="defines more than 3 tests"):
        list(TrxReport(FOLDER / "vstest.trx").cases())


def test_a_file_that_was_cut_is_said(tmp_path: Path) -> None:
    """The results that are there are given with a remark."""
    content = (FOLDER / "vstest.trx").read_bytes()
    path = tmp_path / "a.trx"
    path.write_bytes(content[: content.index(b"e3")])
    report = TrxReport(path)
    assert len(list(report.cases())) == 2
    assert [remark.kind for remark in report.header.remarks] == ["truncated file"]
