"""The reports of one import form runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from smartmob.metrics.report_files.run_groups import ReadReport, groups, name

BEGIN = datetime(2026, 11, 20, 10, tzinfo=UTC)


def report(h: str, minute: float, *tests: int, took: float = 1, scm_ref: str = "", folder: str = "a") -> ReadReport:
    """Return a report that began some minutes after `BEGIN` and took some minutes."""
    start = BEGIN + timedelta(minutes=minute)
    return ReadReport(h, folder, scm_ref, start, start + timedelta(minutes=took), frozenset(tests))


def names(*reports: ReadReport) -> list[str]:
    """Return the runs, each as the sessions in it."""
    return ["".join(member.session_h for member in group) for group in groups(reports)]


def test_the_files_of_one_build_are_one_run_in_any_order() -> None:
    """Also if one of them took an hour."""
    build = [report("A", 0, 1, took=60), report("B", 61, 2), report("C", 70, 3)]
    assert names(*build) == names(*reversed(build)) == ["ABC"]
    assert name(groups(build)[0]) == "A"


def test_builds_far_apart_or_of_other_commits_are_runs_of_their_own() -> None:
    """A folder with the reports of many nights stays a history."""
    assert names(report("A", 0, 1), report("B", 17, 2)) == ["A", "B"]
    assert names(report("A", 0, 1, scm_ref="x"), report("B", 0, 2, scm_ref="y")) == ["A", "B"]


def test_a_test_that_is_there_twice_makes_two_runs() -> None:
    """The same suite on two platforms, or two files of a benchmark, are compared and not added up."""
    assert names(report("A", 0, 1, 2), report("B", 1, 2, 3)) == ["A", "B"]


def test_builds_at_the_same_time_are_told_apart_by_their_folders() -> None:
    """A later report joins the run that has reports of its folder."""
    assert names(
        report("A", 0, 1, folder="py12"),
        report("B", 0, 1, folder="py13"),
        report("C", 1, 2, folder="py13"),
        report("D", 2, 2, folder="py12"),
    ) == ["AD", "BC"]


def test_times_at_the_ends_of_the_calendar_form_runs_of_their_own() -> None:
    """Differences between them are no error."""
    early = ReadReport("A", "", "", datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), frozenset())
    late = ReadReport("B", "", "", datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), frozenset())
    assert names(early, late) == ["A", "B"]
