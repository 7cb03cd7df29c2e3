"""Durations and points in time in the notations of test reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics.report_files.time_values import COMMA_DECIMAL, COMMA_THOUSANDS, Durations, comma_evidence, moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("-0.000", 0.0),
        ("12", 12.0),
        ("0.", 0.0),
        (".5", 0.5),
        ("+1.5", 1.5),
        ("1e-3", 0.001),
        ("1.5E3", 1500.0),
        ("0,03", 0.03),
        (",5", 0.5),
        ("1000,123", 1000.123),
        ("1,234.56", 1234.56),
        ("1.234,56", 1234.56),
        ("12,345,678", 12345678.0),
        ("12.345.678,5", 12345678.5),
        ("1 234,5", 1234.5),
        ("1\u202f234,5", 1234.5),
        ("1'234.5", 1234.5),
        ("\u0660\u066b\u0660\u0663", 0.03),
        ("80.8us", 8.08e-05),
        ("1.5 µs", 1.5e-06),
        ("12ms", 0.012),
        ("5 ns", 5e-9),
        ("0,5s", 0.5),
        ("3 seconds", 3.0),
        ("5min", 300.0),
        ("1m2.5s", 62.5),
        ("1h 2m 3s", 3723.0),
        ("1 min, 3 sec", 63.0),
        ("PT1.5S", 1.5),
        ("P1DT2H", 93600.0),
        ("0:00:01.69", 1.69),
        ("00:00:00.0010000", 0.001),
        ("1.02:03:04", 93784.0),
        ("1 day, 2:00:00", 93600.0),
        ("1:02.5", 62.5),
    ],
)
def test_a_duration_is_read_in_its_notation(text: str, expected: float) -> None:
    """The value is in seconds."""
    assert Durations().seconds(text) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "abc", "NaN", "nan", "inf", "-Infinity", "-1", "-0.5ms", "1e400", "1e12", "0x10", "1.2.3", "1,23,4"),
        *("1:30", "1,234", "5 parsecs", "PT", "P", "1.5.", "--", "9" * 100, "1,2.3,4", "½", "²"),
    ],
)
def test_a_duration_without_one_meaning_is_unknown(text: str) -> None:
    """It never becomes zero or another number."""
    assert Durations().seconds(text) is None


def test_other_values_of_a_report_tell_what_a_comma_means() -> None:
    """The number 1,234 is 1.234 beside decimal commas and 1234 beside decimal points."""
    assert Durations(lambda: COMMA_DECIMAL).seconds("1,234") == 1.234
    assert Durations(lambda: COMMA_THOUSANDS).seconds("1,234") == 1234.0
    assert comma_evidence("0,5") == {COMMA_DECIMAL}
    assert comma_evidence("1.234,5") == {COMMA_DECIMAL}
    assert comma_evidence("0.5") == {COMMA_THOUSANDS}
    assert comma_evidence("1,234,567") == {COMMA_THOUSANDS}
    for text in ("1,234", "1.234", "12", "", "x"):
        assert comma_evidence(text) == set()


def test_a_point_is_not_believed_beside_decimal_commas() -> None:
    """In a report with 0,5 the value 1.234 can be 1234."""
    durations = Durations()
    assert durations.seconds("1.234") == 1.234
    assert durations.seconds("0,5") == 0.5
    assert durations.seconds("1.234") is None
    assert durations.seconds("1.23") == 1.23


@given(st.floats(0, 1e8))
def test_each_float_is_read_as_python_writes_it(value: float) -> None:
    """The shortest notation of a number keeps its value."""
    assert Durations().seconds(repr(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-06T10:00:00", "2024-05-06T10:00:00"),
        ("2024-05-06T10:00", "2024-05-06T10:00:00"),
        ("2024-05-06 10:00:00Z", "2024-05-06T10:00:00+00:00"),
        ("2024-05-06T10:00:00 UTC", "2024-05-06T10:00:00+00:00"),
        ("2024-05-06T10:00:00.1234567+02:00", "2024-05-06T10:00:00.123456+02:00"),
        ("2024-05-06T10:00:00,5-0530", "2024-05-06T10:00:00.500000-05:30"),
        ("2024-05-06T10:00:00+02", "2024-05-06T10:00:00+02:00"),
        ("2024-05-06T10:00:00+02:00[Europe/Berlin]", "2024-05-06T10:00:00+02:00"),
        ("2024-05-06 10:00:00.5 +0200 CEST m=+0.01", "2024-05-06T10:00:00.500000+02:00"),
        ("2024-05-06 10:00:00 CEST +0200", "2024-05-06T10:00:00+02:00"),
        ("2024-05-06T 10:00:00", "2024-05-06T10:00:00"),
        ("20240506T100000Z", "2024-05-06T10:00:00+00:00"),
        ("20240506 10:00:00.087", "2024-05-06T10:00:00.087000"),
        ("20240506100000", "2024-05-06T10:00:00"),
        ("2024-05-06T24:00:00", "2024-05-07T00:00:00"),
        ("2024-12-31T23:59:60Z", "2025-01-01T00:00:00+00:00"),
        ("1714982400", "2024-05-06T08:00:00+00:00"),
        ("1714982400.25", "2024-05-06T08:00:00.250000+00:00"),
        ("1714982400123", "2024-05-06T08:00:00.123000+00:00"),
        ("1714982400123456", "2024-05-06T08:00:00.123456+00:00"),
        ("1714982400123456789", "2024-05-06T08:00:00.123456+00:00"),
        ("Mon May  6 10:00:00 2024", "2024-05-06T10:00:00"),
        ("Mon May 06 10:00:00 UTC 2024", "2024-05-06T10:00:00+00:00"),
        ("Mon, 06 May 2024 10:00:00 GMT", "2024-05-06T10:00:00+00:00"),
        ("6 May 2024 10:00:00 -0500", "2024-05-06T10:00:00-05:00"),
        ("Mon, 6 May 2024 10:00:00 EST", "2024-05-06T10:00:00-05:00"),
        ("May 6, 2024 1:05:09 PM", "2024-05-06T13:05:09"),
        ("Monday, May 6, 2024 10:00:00", "2024-05-06T10:00:00"),
        ("6-May-2024 10:00:00", "2024-05-06T10:00:00"),
        ("06.05.2024 10:00:00", "2024-05-06T10:00:00"),
        ("2024/05/06 10:00:00", "2024-05-06T10:00:00"),
        ("5/20/2024 12:05:09 AM", "2024-05-20T00:05:09"),
        ("20/05/2024 12:27", "2024-05-20T12:27:00"),
        ("05/05/2024 12:27", "2024-05-05T12:27:00"),
    ],
)
def test_a_point_in_time_is_read_in_its_notation(text: str, expected: str) -> None:
    """A zone is kept if there is one, and none is added."""
    found = moment(text)
    assert found is not None
    assert found.isoformat() == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "yesterday",
            "2024-05-06",
            "0",
            "12.000",
            "2421.447",
            "20240506",
            "06/07/2024 20:33:39",
            "2024-13-06T10:00",
        ),
        *("0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "9999-12-31T24:00:00", "1601-01-01T00:00:00Z"),
        *(
            "2024-02-30T10:00:00",
            "2024-05-06T10:00:00+99:00",
            "2024-05-06T10:00:00 CEST",
            "Mon May 06 10:00:00 CEST 2024",
        ),
        *("6 Mai 2024 10:00:00", "x" * 100, "2024-05-06T25:00:00", "13/13/2024 10:00", "5/20/2024 13:00 PM"),
    ],
)
def test_a_point_in_time_without_one_meaning_is_unknown(text: str) -> None:
    """It has no zone that is known, or day and month can be swapped, or it was never set."""
    assert moment(text) is None


@given(st.text(max_size=70))
def test_no_text_ends_in_an_error(text: str) -> None:
    """Any text is a value, or unknown."""
    moment(text)
    Durations().seconds(text)
    comma_evidence(text)


@given(st.text(alphabet="0123456789.,:-+TZ/ eEsmhP", max_size=25))
def test_no_text_of_digits_and_signs_ends_in_an_error(text: str) -> None:
    """Any text that resembles a value is one, or unknown."""
    moment(text)
    Durations().seconds(text)
    comma_evidence(text)
