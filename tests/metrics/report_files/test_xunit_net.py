"""Results of xUnit.net 1 to 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.xunit_net import XUnitReport
from tests.metrics.report_files.telling import told

FOLDER = Path(__file__).parent / "xunit_net"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.xml")))
def test_a_version_is_read_as_its_author_meant_it(name: str) -> None:
    """Each input of the folder gives the cases and remarks of the file beside it, also when it is read again."""
    path = FOLDER / name
    report = XUnitReport(path)
    expected = path.with_suffix(".expected").read_text(encoding="utf-8")
    assert told(report) == expected
    assert told(report) == expected
    assert XUnitReport.looks_like(path.read_bytes()[:65536])


def test_another_format_is_refused(tmp_path: Path) -> None:
    """The line names the root element."""
    path = tmp_path / "a.xml"
    path.write_bytes(b"<testsuite/>")
    assert not XUnitReport.looks_like(b"<testsuite/>")
    with pytest.raises(InvalidInput, match=r"is not xUnit\.net XML: it begins with <testsuite>"):
        list(XUnitReport(path).cases())
