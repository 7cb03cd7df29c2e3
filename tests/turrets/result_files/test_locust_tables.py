"""The tables of Locust."""

from __future__ import annotations

import csv
from io import BytesIO

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.model import ALL_TRANSACTIONS
from smartmob.turrets.result_files.imported_run import GivenStats
from smartmob.turrets.result_files.load_sample import NOT_READ, FileAccount
from smartmob.turrets.result_files.locust_tables import EXCEPTIONS, FAILURES, HISTORY, STATS, kind_of, read

STATS_TABLE = (
    "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,"
    "Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\n"
    "GET,/a,90,3,40,50.5,10,400,100,9.0,0.3,40,50,60,70,90,110,180,220,290,400,400\n"
    ",Aggregated,100,5,45,55.0,10,800,100,10.0,0.5,45,55,65,75,95,120,200,250,700,800,800\n"
)
HISTORY_TABLE = (
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%,"
    "Total Request Count,Total Failure Count,Total Median Response Time,Total Average Response Time,"
    "Total Min Response Time,Total Max Response Time,Total Average Content Size\n"
    "1714550400,0,,Aggregated,0.0,0.0,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,0,0,0,0.0,0,0,0\n"
    "1714550405,8,,Aggregated,9.0,0.5,40,50,60,70,80,90,95,99,100,110,120,45,2,41,52.5,10,120,99\n"
    "1714550410,8,,Aggregated,11.0,0.5,50,50,60,70,80,95,95,99,100,110,130,100,5,45,55.0,10,800,99\n"
)
FAILURES_TABLE = (
    "Method,Name,Error,Occurrences\n"
    "GET,/a,\"HTTPError('404 Client Error: Not Found for url: http://h/a')\",3\n"
    "POST,/b,ConnectionRefusedError(111),2\n"
)


def _read(**tables: str) -> tuple[GivenStats, FileAccount]:
    account = FileAccount()
    kinds = {"stats": STATS, "history": HISTORY, "failures": FAILURES, "exceptions": EXCEPTIONS}
    return read({kinds[name]: BytesIO(text.encode()) for name, text in tables.items()}, account), account


def test_statistics_are_taken_as_they_are() -> None:
    """Percentiles of the file, in seconds; what it does not have is left out, not computed."""
    given, account = _read(stats=STATS_TABLE)
    whole, one = given.timers[ALL_TRANSACTIONS], given.timers["GET /a"]
    assert list(given.timers) == [ALL_TRANSACTIONS, "GET /a"]
    assert (whole.count, whole.errors, whole.rate, whole.min, whole.avg, whole.max) == (100, 5, 10.0, 0.01, 0.055, 0.8)
    assert whole.percentiles["99"] == 0.25
    assert "100" not in whole.percentiles
    assert (one.stdev, one.mixed, one.failed and one.failed.untimed) == (None, 3, 3)
    assert (given.started_at, given.duration) == (None, 10.0)
    assert list(account.notes)


def test_a_history_gives_the_times_and_the_points() -> None:
    """Of the whole run it has no percentiles but the median; rows before the first request have no latency."""
    given, account = _read(history=HISTORY_TABLE)
    whole = given.timers[ALL_TRANSACTIONS]
    assert given.started_at is not None
    assert (given.started_at.timestamp(), given.duration) == (1_714_550_400, 10.0)
    assert (whole.count, whole.errors, whole.rate, whole.percentiles) == (100, 5, 10.0, {"50": 0.045})
    points = given.points[ALL_TRANSACTIONS]
    assert [(point.at, point.rate, point.error_rate, point.p95) for point in points] == [
        *((second, pytest.approx(9.0), pytest.approx(0.4), 0.09) for second in range(5)),
        *((second, pytest.approx(11.0), pytest.approx(0.6), 0.095) for second in range(5, 10)),
    ]
    assert account.users.since(1_714_550_400) == [(0.0, 0), (5.0, 8), (10.0, 8)]


def test_all_tables_of_a_test_are_one_run() -> None:
    """The totals are those of the statistics, the times those of the history, the errors those of the failures."""
    exceptions = "Count,Message,Traceback,Nodes\n4,boom,trace,\n"
    given, account = _read(stats=STATS_TABLE, history=HISTORY_TABLE, failures=FAILURES_TABLE, exceptions=exceptions)
    assert given.timers[ALL_TRANSACTIONS].percentiles["99"] == 0.25
    assert given.duration == 10.0
    assert [(error.count, error.code) for error in given.errors["GET /a"]] == [(3, "404")]
    assert [error.count for error in given.errors[ALL_TRANSACTIONS]] == [3, 2]
    assert any(note.startswith("4 exceptions") for note in account.notes)


def test_a_table_without_the_row_of_all_requests_is_refused() -> None:
    """Failures alone are no run."""
    with pytest.raises(InvalidInput, match="_stats"):
        _read(failures=FAILURES_TABLE)


def test_a_row_that_is_cut_off_is_told() -> None:
    """Locust was killed while it wrote."""
    given, account = _read(history=HISTORY_TABLE + "1714550415,8,,Agg")
    assert (given.duration, account.remarks.count(NOT_READ)) == (10.0, 1)


def test_a_long_traceback_is_read() -> None:
    """A traceback is one cell, and the limit of Python's csv module is 131,072 characters."""
    csv.field_size_limit(131_072)
    traceback = "x" * 200_000
    _, account = _read(stats=STATS_TABLE, exceptions=f"Count,Message,Traceback,Nodes\n2,no,{traceback},one\n")
    assert [note[:1] for note in account.notes if "exceptions" in note] == ["2"]


def test_the_tables_of_old_versions() -> None:
    """Before version 1 the columns and the row of all requests had other names."""
    text = '"Type","Name","# requests","# failures","Median response time","Average response time","Min response time",'
    text += '"Max response time","Average Content Size","Requests/s"\n"GET","/a",7,1,4,5,1,9,3,0.7\n'
    text += '"None","Total",7,1,4,5,1,9,3,0.70\n'
    assert kind_of(text) == kind_of(text.replace("Type", "Method")) == STATS
    assert list(_read(stats=text.replace("Type", "Method"))[0].timers) == [ALL_TRANSACTIONS, "GET /a"]
    whole = _read(stats=text)[0].timers[ALL_TRANSACTIONS]
    assert (whole.count, whole.errors, whole.avg, whole.max, whole.percentiles) == (7, 1, 0.005, 0.009, {})


def _history(*rows: str) -> GivenStats:
    """Return the statistics of a history; a row has the time after the start, the type and name, counts and p100."""
    head, lines = HISTORY_TABLE.splitlines()[0], []
    for row in rows:
        at, name, count, failures, longest = row.split()
        kind = "," if name == "Aggregated" else "GET,"
        percentiles = ",".join([longest] * 11)
        lines.append(f"{1_714_550_400 + int(at)},3,{kind}{name},50.0,9.0,{percentiles},{count},{failures},5,5,2,90,9")
    return _read(history="\n".join([head, *lines, ""]))[0]


@pytest.mark.parametrize(
    ("rows", "name", "points"),
    [
        (["0 Aggregated 0 0 0", "1 Aggregated 4 1 9", "2 Aggregated 10 2 9"], None, [(0, 4, 1), (1, 6, 1)]),
        (["0 Aggregated 0 0 0", "1 Aggregated 4 0 9", "1 Aggregated 7 0 9"], None, [(0, 7, 0)]),
        (["0 Aggregated 0 0 0", "1 Aggregated 9 3 9", "2 Aggregated 2 0 9"], None, [(0, 9, 3), (1, 2, 0)]),
        (["0 Aggregated 0 0 0", "1 Aggregated 1 0 9", "2 Aggregated 3 0 9", "2 /a 2 0 9"], "GET /a", [(1, 2, 0)]),
        (["0 Aggregated 0 0 0", "4 Aggregated 8 4 9"], None, [(at, 2, 1) for at in range(4)]),
        (["7 Aggregated 90 3 9"], None, []),
    ],
    ids=["each second", "the last row twice", "reset", "a later timer", "a gap", "one row"],
)
def test_rates_over_time_are_differences_of_counts(
    rows: list[str], name: str | None, points: list[tuple[int, float, float]]
) -> None:
    """They are exact in each second, the first and the last ones too; Locust's own are averages of ten seconds."""
    found = _history(*rows).points[name or ALL_TRANSACTIONS]
    assert [(point.at, point.rate, point.error_rate) for point in found] == points


def test_percentiles_of_no_request_are_none() -> None:
    """Locust writes 0 for the percentiles of ten seconds in which no request ended."""
    found = _history("0 Aggregated 0 0 0", "1 Aggregated 4 0 9", "2 Aggregated 4 0 0").points[ALL_TRANSACTIONS]
    assert [point.p99 for point in found] == [0.009, None]


def test_a_history_of_an_old_version_is_read() -> None:
    """Its first column is the type, and it has no number of users."""
    text = '"Type","Name","Timestamp","# requests","# failures","Requests/s","Requests Failed/s",'
    text += '"50%","95%","99%","100%"\n'
    text += '"GET","/a",1714550400,0,0,0,0,1,2,3,4\n"None","Total",1714550400,0,0,0,0,1,2,3,4\n'
    text += '"GET","/a",1714550402,6,2,9,9,1,2,3,4\n"None","Total",1714550402,8,2,9,9,1,2,3,4\n'
    assert kind_of(text) == HISTORY
    given, account = _read(history=text)
    assert (given.timers[ALL_TRANSACTIONS].count, given.timers["GET /a"].errors) == (8, 2)
    assert [(point.at, point.rate) for point in given.points[ALL_TRANSACTIONS]] == [(0, 4.0), (1, 4.0)]
    assert account.users.since(0) == []


def test_a_gap_and_counts_that_begin_anew_are_told() -> None:
    """Two tests in one table: the rate is that since the counts began anew, and the times between have no rows."""
    _, first, second = HISTORY_TABLE.splitlines()[1:]
    later = [row.replace("17145504", "17145604") for row in (first, second)]
    given, account = _read(history="\n".join([HISTORY_TABLE.rstrip(), *later]) + "\n")
    whole = given.timers[ALL_TRANSACTIONS]
    assert (whole.count, given.duration) == (100, 10_010.0)
    assert whole.rate == pytest.approx(100 / 10_000)
    gap, anew = account.doubts
    assert (gap.level, anew.level) == ("bad", "warning")
    assert "No request was under way for 9,990 s of 10,010 s" in gap.what
    assert anew.what.startswith("The counts of Locust begin again at zero 10 s after the start")
    assert _read(history=HISTORY_TABLE)[1].doubts == []


def test_times_of_a_history_that_go_back_are_told() -> None:
    """Two tables were joined, or a clock was set."""
    _, _, second = HISTORY_TABLE.splitlines()[1:]
    _, account = _read(history=HISTORY_TABLE + second.replace("17145504", "17145304") + "\n")
    assert any("go back at least once" in doubt.what for doubt in account.doubts)
