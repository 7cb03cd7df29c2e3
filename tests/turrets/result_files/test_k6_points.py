"""Results of k6."""

from __future__ import annotations

import json

import pytest

from smartmob.turrets.result_files.k6_points import OTHER_METRICS
from smartmob.turrets.result_files.load_sample import CUT_OFF, NO_NUMBER, NO_VALID_TIME, NOT_READ
from tests.turrets.result_files.read_samples import samples_of

TIME = "2024-05-01T10:00:00.123456789+02:00"
SECONDS = 1_714_550_400.123456


def _point(metric: str, value: object, **tags: object) -> str:
    return json.dumps({"metric": metric, "type": "Point", "data": {"time": TIME, "value": value, "tags": tags}}) + "\n"


def _metric(name: str, kind: str = "trend", contains: str = "time") -> str:
    return json.dumps({"type": "Metric", "metric": name, "data": {"type": kind, "contains": contains}}) + "\n"


def test_a_request_is_a_transaction_named_by_method_and_name() -> None:
    """The time is that of its end, to the nanosecond; the value is in milliseconds."""
    text = _metric("http_req_duration") + _point("http_req_duration", 12.5, method="GET", name="/a", status="200")
    (sample,), _ = samples_of(text)
    assert (sample.timer, sample.seconds, sample.failed, sample.counted) == ("GET /a", 0.0125, False, True)
    assert sample.end == pytest.approx(SECONDS)


@pytest.mark.parametrize(
    ("tags", "failed", "code"),
    [
        ({"status": "200", "expected_response": "true"}, False, ""),
        ({"status": "404", "expected_response": "true"}, False, ""),  # the script expects it
        ({"status": "404", "expected_response": "false"}, True, "404"),
        ({"status": "500"}, True, "500"),  # versions before 0.31
        ({"status": "0", "error": "dial: connection refused", "error_code": "1212"}, True, "1212"),
    ],
)
def test_failures_are_those_of_k6(tags: dict[str, str], failed: bool, code: str) -> None:
    """The tag `expected_response` decides where it is."""
    (sample,), _ = samples_of(_point("http_req_duration", 1, method="GET", name="x", **tags))
    assert (sample.failed, sample.code) == (failed, code)
    assert bool(sample.error) is failed


def test_groups_iterations_and_own_trends_of_times_are_timers() -> None:
    """Other points are left out, with their number; parts of requests are no timers."""
    text = _metric("login_time") + _metric("basket", contains="default")
    text += _point("group_duration", 5, group="::shop::pay") + _point("iteration_duration", 9) + _point("login_time", 3)
    text += _point("basket", 3) + _point("vus", 2) + _point("http_req_waiting", 1)
    samples, account = samples_of(text)
    assert [sample.timer for sample in samples] == ["shop::pay", "iteration", "login_time"]
    assert not any(sample.counted for sample in samples)
    assert account.left_out.count(OTHER_METRICS) == 2  # `vus` is the number of users
    assert [users for _, users in account.users.since(0)] == [2]


def test_dropped_iterations_and_failed_checks_are_notes() -> None:
    """They say whether the load was what was asked for."""
    text = _point("checks", 0, check="is ok") + _point("checks", 1, check="is ok") + _point("dropped_iterations", 7)
    _, account = samples_of(text)
    assert list(account.notes) == [
        "k6 dropped 7 iterations, for which it had no free user.",
        "1 of 2 checks failed, the first is 'is ok'.",
    ]


def test_what_is_not_understood_is_told() -> None:
    """Lines that are cut off, and points without a time."""
    bad = json.dumps({"metric": "http_req_duration", "type": "Point", "data": {"time": "t", "value": 1, "tags": None}})
    samples, account = samples_of(_metric("vus") + bad + '\n{"metric": "http_req_dur')
    assert samples == []
    assert (account.remarks.count(NO_VALID_TIME), account.remarks.count(CUT_OFF)) == (1, 1)


@pytest.mark.parametrize(
    "stamp", ["1714550400", "1714550400000", "1714550400000000", "1714550400000000000", TIME[:19] + "Z"]
)
def test_time_stamps_of_csv_in_each_unit(stamp: str) -> None:
    """K6_CSV_TIME_FORMAT chooses between them."""
    text = "metric_name,timestamp,metric_value,check,error,error_code,group,method,name,status,url,extra_tags\n"
    text += f"http_reqs,{stamp},1.0,,,,,GET,/a,503,/a,\nhttp_req_duration,{stamp},80.5,,,,,GET,/a,503,/a,\n"
    (sample,), account = samples_of(text)
    assert int(sample.end) == (1_714_550_400 if stamp[-1] != "Z" else 1_714_557_600)
    assert (sample.timer, sample.seconds, sample.failed, sample.code) == ("GET /a", 0.0805, True, "503")
    assert account.left_out.count(OTHER_METRICS) == 1


HEAD = "metric_name,timestamp,metric_value,check,error,error_code,group,method,name,status,url,extra_tags\n"


def test_a_decimal_comma_is_told_with_its_line() -> None:
    """It is in two cells of CSV, or is no number of JSON."""
    good = "http_req_duration,1714550400,80.5,,,,,GET,/a,200,/a,\n"
    split, quoted = good.replace("80.5", "12,5"), good.replace("80.5", '"12,5"')
    samples, account = samples_of(HEAD + good + split + quoted)
    assert len(samples) == 1
    told = [(kind, example) for kind, _, example in account.remarks.items()]
    assert told == [
        (NOT_READ, "line 3: http_req_duration,1714550400,12,5,,,,,GET,/a,200,/a,"),
        (NO_NUMBER, "line 4: '12,5' of http_req_duration"),
    ]
    _, account = samples_of(_point("http_req_duration", 1) + _point("http_req_duration", "12,5"))
    ((kind, _, example),) = account.remarks.items()
    assert kind == NOT_READ
    assert example.startswith("line 2: Expected `float | null`, got `str` - at `$.data.value`: ")


def test_runs_that_were_appended_are_counted() -> None:
    """Each has a header of CSV, or declares its metrics."""
    rows = HEAD + "http_req_duration,1714550400,80.5,,,,,GET,/a,200,/a,\n"
    samples, account = samples_of(rows + rows)
    assert (len(samples), account.parts, account.left_out.total) == (2, 2, 0)
    assert samples_of(rows)[1].parts == 1
    assert samples_of(_metric("vus") + _metric("http_reqs") + _point("vus", 1) + _metric("vus"))[1].parts == 2


def test_requests_without_the_tags_of_an_outcome_are_no_failures() -> None:
    """With k6's option `systemTags` they can be missing; a note has the number of failures that k6 counted."""
    tags = {"method": "GET", "name": "/a"}
    text = _point("http_req_duration", 12.5, **tags) + _point("http_req_failed", 1, **tags)
    samples, account = samples_of(
        text + _point("http_req_duration", 12.5, **tags) + _point("http_req_failed", 0, **tags)
    )
    assert [sample.failed for sample in samples] == [False, False]
    (note,) = account.notes
    assert note.startswith("2 requests without the tags status and expected_response count as successes; k6 counted 1 ")
    assert samples_of(_point("http_req_duration", 12.5, status="0", **tags))[0][0].failed
