"""The files of an import are read once before any of them is sent."""

from __future__ import annotations

from pathlib import Path

from smartmob.cli import import_files, report_rows, report_sources
from smartmob.cli.import_files import FileAnalysis
from smartmob.metrics.report_files.session_rows import ImportOptions

REPORT = """<testsuite timestamp="2026-11-20T10:00:00Z"><testcase classname="NAME" name="a" time="1"/></testsuite>"""


def _surveyed(folder: Path, **options: dict[str, str]) -> tuple[FileAnalysis, list[str]]:
    """Return what was found in the files of a folder, and the names of the files that form a run with others."""
    found = list(report_sources.expand([str(folder)]))
    analysis = import_files.analysis(found, None, ImportOptions(**options))  # type: ignore[arg-type]  # of one option
    return analysis, [" ".join(Path(name).stem for name in group) for group in analysis.groups]


def test_reports_of_a_folder_form_a_run_and_are_kept(tmp_path: Path) -> None:
    """One that cannot be read, and one with the tests of another, are left out; kept rows are given once."""
    for name, text in {"a": "x", "b": "y", "c": "x"}.items():
        (tmp_path / f"{name}.xml").write_text(REPORT.replace("NAME", text) + " " * ord(name))
    (tmp_path / "bad.xml").write_text("<testsuite><<")

    analysis, names = _surveyed(tmp_path)

    assert len(names) == 1
    assert names[0] in ("a b", "b a", "b c", "c b")
    path = tmp_path / "a.xml"
    found = report_sources.ReportCandidate(path, str(path))
    with report_sources.opened(found, None) as file:
        kept = analysis.rows_of(found, file)
        assert kept is not None
        with report_rows.rows_of(file, ImportOptions(), kept) as rows:
            assert rows is kept
        assert analysis.rows_of(found, file) is None


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    """Its rows would not be those of its content."""
    for name in "ab":
        (tmp_path / f"{name}.xml").write_text(REPORT.replace("NAME", name))
    analysis, _ = _surveyed(tmp_path)
    path = tmp_path / "a.xml"
    path.write_text(REPORT.replace("NAME", "c"))
    found = report_sources.ReportCandidate(path, str(path))
    with report_sources.opened(found, None) as file:
        assert analysis.rows_of(found, file) is None


def test_a_given_run_groups_nothing(tmp_path: Path) -> None:
    """The tag `run` of the command line holds for all files."""
    for name in "ab":
        (tmp_path / f"{name}.xml").write_text(REPORT.replace("NAME", name))
    assert _surveyed(tmp_path)[1] == ["a b"] or _surveyed(tmp_path)[1] == ["b a"]
    assert _surveyed(tmp_path, tags={"run": "x"})[1] == []
