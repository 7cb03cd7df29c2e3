"""Results of NUnit 2 and 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.nunit import NUnitReport
from tests.metrics.report_files.telling import told

FOLDER = Path(__file__).parent / "nunit"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.xml")))
def test_a_version_is_read_as_its_author_meant_it(name: str) -> None:
    """Each input of the folder gives the cases and remarks of the file beside it, also when it is read again."""
    path = FOLDER / name
    report = NUnitReport(path)
    expected = path.with_suffix(".expected").read_text(encoding="utf-8")
    assert told(report) == expected
    assert told(report) == expected
    assert NUnitReport.looks_like(path.read_bytes()[:65536])


def test_another_format_is_refused(tmp_path: Path) -> None:
    """The line names the root element."""
    path = tmp_path / "a.xml"
    path.write_bytes(b"<testsuite/>")
    assert not NUnitReport.looks_like(b"<testsuite/>")
    with pytest.raises(InvalidInput, match="is not NUnit XML: it begins with <testsuite>"):
        list(NUnitReport(path).cases())
