"""Reports become contexts, sessions and metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark, ReportedMachine
from smartmob.metrics.report_files.session_rows import ImportOptions, ReportRows, ReportSource

SOURCE = ReportSource("x.xml", "0" * 32, datetime(2026, 11, 20, 20, tzinfo=UTC))
BEGIN = datetime(2026, 11, 20, 10, tzinfo=UTC)


class Fixed:
    """A report with fixed cases."""

    format_name = "fixed"

    def __init__(self, cases: Sequence[Case], header: Header | None = None) -> None:
        self.header = header or Header(suites=1, started_at=BEGIN)
        self._cases = cases

    def cases(self) -> Iterator[Case]:
        """Yield the cases."""
        yield from self._cases


def case(name: str, **changes: Any) -> Case:
    """Return a case that passed."""
    return replace(Case("sums", name, name, CaseOutcome.PASSED, total_time=2.0), **changes)


def rows_of(
    cases: Sequence[Case], header: Header | None = None, source: ReportSource = SOURCE, **options: Any
) -> tuple[ReportRows, dict[str, Any], list[dict[str, Any]]]:
    """Return the rows of a report, its session and its metrics."""
    rows = ReportRows(Fixed(cases, header), source, ImportOptions(**options))
    (session,) = rows.sessions()
    ((session_h, total),) = rows.counts().items()
    metrics = [orjson.loads(line) for line in rows.metrics(session_h, 0)]
    assert len(metrics) == total
    assert [orjson.loads(line) for line in rows.metrics(session_h, 1)] == metrics[1:]
    assert list(rows.metrics("other", 0)) == []
    return rows, session, metrics


def test_only_passed_cases_are_stored_and_the_others_are_counted() -> None:
    """With their names, and all remarks."""
    told = Remark("unread time", "soon")
    rows, _, metrics = rows_of(
        [
            case("a"),
            case("b", outcome=CaseOutcome.FAILED),
            case("c", outcome=CaseOutcome.SKIPPED),
            case("d", total_time=None, remarks=(told,)),
            case("e\0"),
            case("f", mem_usage=float("inf")),
        ],
        Header(suites=3, started_at=BEGIN, remarks=[Remark("unread row", "x")]),
    )
    assert [(row["item"], row["total_time"]) for row in metrics] == [("a", 2.0), ("d", None)]
    assert (rows.summary.suites, rows.summary.cases) == (3, 6)
    assert [(kind, count) for kind, count, _ in rows.summary.left_out.items()] == [
        ("failed", 1), ("skipped", 1), ("refused", 2)
    ]  # fmt: skip
    assert [(kind, count) for kind, count, _ in rows.summary.remarks.items()] == [("unread time", 1), ("unread row", 1)]


def test_a_case_without_a_start_begins_when_the_one_before_ends() -> None:
    """An own start counts from there on; explicit offsets survive."""
    own = datetime.fromisoformat("2026-11-20T12:30:00+02:00")
    _, session, metrics = rows_of([case("a"), case("b"), case("c", started_at=own), case("d")])
    assert session["run_date"] == "2026-11-20T10:00:00+00:00"
    assert [row["item_start_time"] for row in metrics] == [
        "2026-11-20T10:00:00+00:00", "2026-11-20T10:00:02+00:00", "2026-11-20T12:30:00+02:00",
        "2026-11-20T12:30:02+02:00",
    ]  # fmt: skip
    assert [datetime.fromisoformat(row["started_at"]) for row in metrics][2] == own


def test_a_report_without_any_time_has_that_of_its_file() -> None:
    """And that is said; the times of its cases are the first choice."""
    rows, session, _ = rows_of([case("a")], Header())
    assert datetime.fromisoformat(session["started_at"]) == SOURCE.modified
    assert rows.summary.remarks.count("replaced timestamp") == 1
    rows, session, _ = rows_of([case("a"), case("b", started_at=BEGIN)], Header())
    assert datetime.fromisoformat(session["started_at"]) == BEGIN
    assert rows.summary.understood


def test_times_without_a_zone_are_local_times_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Across the change of clocks too: in the repeated hour the first one is meant, a skipped time counts on."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        header = Header(started_at=datetime(2026, 10, 25, 2, 59, 59))
        _, session, metrics = rows_of([case("a"), case("b")], header)
        assert (session["run_date"], metrics[1]["item_start_time"]) == ("2026-10-25T02:59:59", "2026-10-25T02:00:01")
        moments = [datetime.fromisoformat(row["started_at"]).astimezone(UTC) for row in metrics]
        assert moments == [datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC), datetime(2026, 10, 25, 1, 0, 1, tzinfo=UTC)]
        _, session, _ = rows_of([case("a")], Header(started_at=datetime(2026, 3, 29, 2, 30)))
        moment = datetime.fromisoformat(session["started_at"]).astimezone(UTC)
        assert (session["run_date"], moment) == ("2026-03-29T02:30:00", datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_given_start_moves_all_times() -> None:
    """The distances between the cases stay."""
    started = datetime.fromisoformat("2026-01-01T00:00:00+01:00")
    _, session, metrics = rows_of([case("a"), case("b")], started_at=started)
    assert datetime.fromisoformat(session["run_date"]) == started
    first, second = (datetime.fromisoformat(row["item_start_time"]) for row in metrics)
    assert (first, (second - first).total_seconds()) == (started, 2.0)
    with pytest.raises(InvalidInput, match="--started-at"):
        rows_of([case("a")], started_at=datetime(1, 1, 1, tzinfo=UTC).replace(tzinfo=None).min)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_beyond_the_calendar_are_unread(text: str) -> None:
    """The time of the file stands for that of the report, the end of the case before for that of a case."""
    bad = datetime.fromisoformat(text)
    rows, session, metrics = rows_of([case("a", started_at=bad)], Header(started_at=bad))
    assert datetime.fromisoformat(session["started_at"]) == SOURCE.modified
    assert datetime.fromisoformat(metrics[0]["started_at"]) == SOURCE.modified
    assert rows.summary.remarks.count("unread timestamp") == 2


def test_each_machine_is_a_context() -> None:
    """Unknown fields are "unknown" or 0; a given name counts for all."""
    cases = [
        case("a", machine=ReportedMachine(node="one", cpu_count=8)),
        case("b"),
        case("c", machine=ReportedMachine(node="two")),
    ]
    rows, _, metrics = rows_of(cases)
    contexts = {row["h"]: row["machine_node"] for row in rows.contexts()}
    assert [contexts[row["context_h"]] for row in metrics] == ["one", "unknown", "two"]
    rows, _, _ = rows_of(cases, machine="mine")
    assert [row["machine_node"] for row in rows.contexts()] == ["mine"] * 3


def test_the_session_is_that_of_the_content_and_the_options() -> None:
    """The name and the date of the file are no part of it."""
    hashes = []
    for source, options in (
        (SOURCE, {}),
        (replace(SOURCE, digest="1"), {}),
        (SOURCE, {"scm_ref": "a"}),
        (SOURCE, {"tags": {"a": "b"}}),
        (SOURCE, {"machine": "m"}),
        (SOURCE, {"started_at": BEGIN}),
        (SOURCE, {"component": "c"}),
    ):
        hashes += rows_of([case("a")], source=source, **options)[0].counts()
    assert len(set(hashes)) == len(hashes)
    renamed = replace(SOURCE, name="y.xml", modified=BEGIN)
    assert list(rows_of([case("a")], source=renamed)[0].counts()) == hashes[:1]


def test_properties_and_options_become_tags() -> None:
    """Options come first, and dumps of an environment stay out."""
    header = Header(started_at=BEGIN, scm_ref="theirs", properties={"a": "1", "b": "2", "long": "x" * 99_999, "": "y"})
    _, session, _ = rows_of([case("a")], header, tags={"b": "3"})
    assert session["description"] == {"a": "1", "b": "3", "imported_from": "x.xml"}
    assert session["scm_ref"] == "theirs"
    assert rows_of([case("a")], header, scm_ref="ours")[1]["scm_ref"] == "ours"


def test_a_report_without_cases_is_not_understood() -> None:
    """A run of nothing is no success."""
    rows, _, metrics = rows_of([])
    assert (metrics, rows.summary.understood) == ([], False)
