"""Results of JMeter as CSV."""

from __future__ import annotations

import csv
import io

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files.jmeter_csv import CONTROLLERS, FRACTIONS, NOT_UTF8
from smartmob.turrets.result_files.load_sample import (
    AGGREGATED,
    CUT_OFF,
    NO_DURATION,
    NO_NUMBER,
    NO_VALID_TIME,
    NOT_READ,
)
from tests.turrets.result_files.read_samples import samples_of

HEADER = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes\n"
START = 1_700_000_000_000


def test_a_row_is_a_transaction_that_ends_after_its_time() -> None:
    """The time stamp is that of the begin; the duration is in milliseconds."""
    (sample,), account = samples_of(HEADER + f"{START},250,home,200,OK,Users 1-1,text,true,,12\n")
    assert (sample.end, sample.seconds, sample.timer, sample.failed, sample.counted) == (
        START / 1000 + 0.25,
        0.25,
        "home",
        False,
        True,
    )
    assert not account.remarks.total


@pytest.mark.parametrize(
    ("code", "message", "assertion", "expected"),
    [
        ("500", "Internal Server Error", "", ("Internal Server Error", "", "500")),
        (
            "200",
            "OK",
            "Test failed: text expected to contain /a/",
            ("Test failed: text expected to contain /a/", "assertion", "200"),
        ),
        (
            "Non HTTP response code: java.net.SocketTimeoutException",
            "Non HTTP response message: Read timed out",
            "",
            ("Non HTTP response message: Read timed out", "SocketTimeoutException", ""),
        ),
        ("", "", "", ("failed", "", "")),
    ],
)
def test_failures_have_text_kind_and_code(
    code: str, message: str, assertion: str, expected: tuple[str, str, str]
) -> None:
    """The message of an assertion is better than that of the answer."""
    out = io.StringIO()
    csv.writer(out).writerow([START, 5, "a", code, message, "t", "text", "false", assertion, 0])
    (sample,), _ = samples_of(HEADER + out.getvalue())
    assert sample.failed
    assert (sample.error, sample.kind, sample.code) == expected


def test_labels_may_have_delimiters_quotes_and_line_ends() -> None:
    """A row ends where its quotes say."""
    text = HEADER + f'{START},1,"a, ""b""\nc",200,OK,t,text,true,,1\n{START},2,d,200,OK,t,text,true,,1\n'
    samples, _ = samples_of(text)
    assert [sample.timer for sample in samples] == ['a, "b"\nc', "d"]


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("header", [True, False])
def test_the_delimiter_and_the_header_are_recognised(delimiter: str, header: bool) -> None:
    """Without a header the columns are those that JMeter writes by default."""
    further = HEADER.replace("bytes", "bytes,sentBytes,grpThreads,allThreads")
    rows = (further if header else "") + f"{START},7,x,404,Not Found,t,text,false,no page,1,1,1,1\n"
    (sample,), _ = samples_of(rows.replace(",", delimiter))
    assert (sample.timer, sample.seconds, sample.error, sample.code) == ("x", 0.007, "no page", "404")


def test_a_row_with_more_cells_than_the_header_is_told() -> None:
    """An unquoted 12,5 moves all cells behind it; read by the header it would be 12 ms of a timer 5."""
    rows = f"{START},12,5,home,200,OK,t,text,true,,1\n{START},9,home,200,OK,t,text,true,,1,\n"
    (sample,), account = samples_of(HEADER + rows)
    assert (sample.timer, sample.seconds) == ("home", 0.009), "a delimiter at the end of a row is no cell"
    assert account.remarks.count(NOT_READ) == 1


def test_a_file_of_jmeter_2_without_a_header() -> None:
    """It has no failure messages: the size after `success` is no error."""
    (sample,), _ = samples_of(f"{START},7,x,500,Bad,t,text,false,1234,3\n")
    assert sample.error == "Bad"


def test_transaction_controllers_are_timers() -> None:
    """Their requests are counted already."""
    row = f'{START},9,all,,"Number of samples in transaction : 2, number of failing samples : 0",t,,true,,1\n'
    (sample,), account = samples_of(HEADER + row)
    assert not sample.counted
    assert account.left_out.count(CONTROLLERS) == 1


def test_dates_are_local_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """JMeter writes them with slashes or hyphens, if a format is set."""
    rows = "2024/02/24 07:42:21.256,1,a,200,OK,t,text,true,,1\n2024-02-24 07:42:21.256,1,a,200,OK,t,text,true,,1\n"
    first, second = samples_of(HEADER + rows)[0]
    assert first.end == second.end


def test_what_cannot_be_placed_or_timed_is_told() -> None:
    """Failures without a duration are kept; successes without one say nothing."""
    rows = (
        "soon,1,a,200,OK,t,text,true,,1\n"
        f"{START},,b,200,OK,t,text,true,,1\n"
        f"{START},,c,500,Bad,t,text,false,,1\n"
        f"{START},5,d"
    )
    (sample,), account = samples_of(HEADER + rows)
    assert (sample.timer, sample.seconds, sample.error) == ("c", None, "Bad")
    assert [account.remarks.count(kind) for kind in (NO_VALID_TIME, NO_DURATION, CUT_OFF)] == [1, 1, 1]


def test_without_a_column_of_success_the_code_decides() -> None:
    """This is told."""
    samples, account = samples_of(f"timeStamp,elapsed,label,responseCode\n{START},1,a,200\n{START},1,a,503\n")
    assert [sample.failed for sample in samples] == [False, True]
    assert any("success" in note for note in account.notes)


def test_neither_success_nor_code_is_refused() -> None:
    """Failures could not be told from successes."""
    with pytest.raises(InvalidInput, match="neither"):
        samples_of(f"timeStamp,elapsed,label\n{START},1,a\n")


def test_files_that_were_appended_have_two_headers() -> None:
    """The second one may have other columns."""
    second = "timeStamp,label,elapsed,success,responseCode\n"
    samples, account = samples_of(HEADER + f"{START},1,a,200,OK,t,text,true,,1\n{second}{START},b,2,false,500\n")
    assert account.parts == 2
    assert [(sample.timer, sample.failed) for sample in samples] == [("a", False), ("b", True)]


def test_the_number_of_users_is_that_of_all_threads() -> None:
    """A row that a line break has cut off before it counts all the same, as far as it has what is needed."""
    head = HEADER.replace("bytes", "bytes,grpThreads,allThreads")
    text = head + f"{START},10,a,200,OK,t,text,true,,12,3,7\n{START + 1000},10,a,502,Bad,t,text,false,Premature end.\n"
    samples, account = samples_of(text + "See log file.,10,3,7\n")
    assert [(sample.failed, sample.error) for sample in samples] == [(False, ""), (True, "Premature end.")]
    assert account.users.since(START / 1000) == [(0.0, 7)]
    assert account.remarks.total == 1


@pytest.mark.parametrize(
    ("stamp", "unit"), [("1714550400", "seconds"), ("1714550400000000", "microseconds"), ("1714550400.5", "seconds")]
)
def test_times_in_another_unit_are_told_with_it(stamp: str, unit: str) -> None:
    """JMeter writes milliseconds; other programs that write such files take seconds."""
    _, account = samples_of(HEADER + f"{stamp},1,a,200,OK,t,text,true,,1\n")
    ((kind, _, example),) = account.remarks.items()
    assert kind == f"without a valid time: it seems to be in {unit}, and milliseconds are needed"
    assert example == f"{stamp} a (line 2)"


def test_durations_that_are_no_milliseconds_are_told() -> None:
    """Fractions may be seconds, and a decimal comma is no number."""
    good, comma = f"{START},0.25,a,200,OK,t,text,true,,1\n", f'{START},"12,5",a,200,OK,t,text,true,,1\n'
    (sample,), account = samples_of(HEADER + good + comma)
    assert (sample.seconds, list(account.notes)) == (0.00025, [FRACTIONS])
    ((kind, _, example),) = account.remarks.items()
    assert (kind, example) == (NO_NUMBER, "line 3: 12,5 a")


def test_samples_of_several_requests_are_refused() -> None:
    """In the mode Statistical a sample is the sum of many, and has no time for each."""
    head = HEADER.replace("bytes", "bytes,SampleCount,ErrorCount")
    rows = f"{START},5000,a,200,OK,t,text,true,,1,10,2\n{START},40,a,200,OK,t,text,true,,1,1,0\n"
    samples, account = samples_of(head + rows)
    assert [sample.seconds for sample in samples] == [0.04]
    assert [(kind, example) for kind, _, example in account.remarks.items()] == [(AGGREGATED, "line 2: a")]


def test_labels_in_another_encoding_are_noted() -> None:
    """Two of them could become the same name."""
    _, account = samples_of(HEADER + f"{START},1,T\ufffdst,200,OK,t,text,true,,1\n")
    assert list(account.notes) == [NOT_UTF8]
