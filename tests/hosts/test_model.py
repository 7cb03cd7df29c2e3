"""What a sample may hold, what a machine may be called, and how a span is cut."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.hosts import model
from smartmob.hosts.model import SampleData, Span, TimeRules
from tests.hosts.samples import CLIENT_ID, sweep

NOW = 1_795_400_000.0
HOUR = 3600.0


class TestNames:
    """What a machine may be called."""

    @pytest.mark.parametrize("name", ["wood", "W", "rack7.lab", "a/b", "a b", "ünïcode", "机器", "a?b#c%2F", "x" * 128])
    def test_good(self, name: str) -> None:
        """Letters of any script begin a name; dots, slashes and blanks may follow. Its client id leads back to it."""
        assert model.is_name(name)
        assert model.parse_client_id(model.client_id(name, "p:w")) == (name, "p:w")

    @pytest.mark.parametrize("name", ["", "1a", " a", "_a", ".a", "/a", "a:b", "a\0", "a\n", "x" * 129, "\u202ea"])
    def test_bad(self, name: str) -> None:
        """What begins otherwise, has a colon or cannot be printed is refused, in a client id as well."""
        assert not model.is_name(name)
        parsed = model.parse_client_id(model.client_id(name, "p"))
        assert parsed is None or parsed[0] != name


class TestClientIds:
    """The base64 of name and password."""

    def test_the_seeds(self) -> None:
        """It is the one of seed 001."""
        assert model.client_id("wood", "123") == CLIENT_ID
        assert model.parse_client_id(CLIENT_ID) == ("wood", "123")

    @pytest.mark.parametrize("given", ["", "x", "d29vZDoxMjM", "d29vZA==", "/w==", "d29v ZDoxMjM=", "A" * 100_000, "é"])
    def test_none(self, given: str) -> None:
        """What is not the base64 of name, colon and password is none."""
        assert model.parse_client_id(given) is None

    @pytest.mark.parametrize(
        ("header", "found"),
        [
            (CLIENT_ID, CLIENT_ID),
            (f"Basic {CLIENT_ID}", CLIENT_ID),
            (f"basic   {CLIENT_ID} ", CLIENT_ID),
            (None, ""),
            ("", ""),
            ("Bearer abc", "Bearer"),
        ],
    )
    def test_headers(self, header: str | None, found: str) -> None:
        """It comes bare or as HTTP Basic."""
        assert model.authorization_id(header) == found


class TestSamples:
    """From what is sent to what is stored."""

    def test_the_names_of_the_clients(self) -> None:
        """Both names of the processors' load and of the time are read."""
        one = model.sample_row("a", SampleData(cpu_load=5.0, time=NOW), 1)
        two = model.sample_row("a", SampleData(cpu=5.0, unix_time=NOW), 1)
        assert one == two
        assert (one.host, one.at, one.n, one.cpu, one.mem) == ("a", NOW, 1, 5.0, None)

    def test_its_own_number(self) -> None:
        """A sample with an id keeps it, so that the second of the same is known."""
        assert model.sample_row("a", SampleData(time=NOW, id=77), 1).n == 77

    def test_no_time(self) -> None:
        """Without a time a sample is refused."""
        with pytest.raises(InvalidInput, match="time: this field is required"):
            model.sample_row("a", SampleData(cpu=1.0), 1)

    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf, 1e18])
    @pytest.mark.parametrize("name", [*model.FIGURES, "time"])
    def test_figures_that_are_none(self, name: str, value: float) -> None:
        """Every figure is a finite number from 0; the bad one is named."""
        data = SampleData(**({"time": NOW} | {name: value}))
        with pytest.raises(InvalidInput) as caught:
            model.sample_row("a", data, 1)
        assert caught.value.faults[0].where == name

    def test_details(self) -> None:
        """Processors and temperatures are kept; too many are refused, and so is what no text can hold."""
        row = model.sample_row("a", SampleData(time=NOW, cores=[1.0], temperatures={"x": 2.0}), 1)
        assert row.detail == '{"cores":[1.0],"temperatures":{"x":2.0}}'
        with pytest.raises(InvalidInput, match="more than"):
            model.sample_row("a", SampleData(time=NOW, cores=[1.0] * 10_000), 1)
        with pytest.raises(InvalidInput, match="NUL"):
            model.sample_row("a", SampleData(time=NOW, temperatures={"\0": 2.0}), 1)

    def test_a_form(self) -> None:
        """Texts become numbers; what nobody knows is passed over."""
        data = model.form_data({"cpu_load": "25.9", "mem": "6172", "time": "1646650624", "other": "x"})
        assert (data.cpu_load, data.mem, data.time) == (25.9, 6172.0, 1646650624.0)
        assert model.as_numbers(data) == {"cpu_load": 25.9, "mem": 6172, "time": 1646650624}
        assert [type(value) for value in model.as_numbers(data).values()] == [float, int, int]

    @pytest.mark.parametrize("fields", [{"mem": "x"}, {"time": ""}, {"mem": "1,5"}, {"id": "-1"}])
    def test_a_form_without_numbers(self, fields: dict[str, str]) -> None:
        """What is no number is refused."""
        with pytest.raises(InvalidInput, match="value error"):
            model.form_data(fields)

    def test_the_own_machine(self) -> None:
        """A look at a machine has the names and the units of a sample."""
        fields = model.sample_fields(sweep())
        assert (fields["cpu_load"], fields["mem"], fields["storage"], fields["load"]) == (12.5, 3072, 25_600, 0.5)
        assert set(fields) <= set(SampleData.__struct_fields__)


class TestTimes:
    """Which times a sample may have."""

    RULES = TimeRules(ahead=60.0, oldest=10 * 86_400.0)

    @pytest.mark.parametrize("off", [0.0, 60.0, -10 * 86_400.0, -1.5])
    def test_good(self, off: float) -> None:
        """From the oldest that is taken to a little ahead."""
        self.RULES.check(NOW + off, NOW)

    @pytest.mark.parametrize(
        ("time", "words"),
        [
            (NOW + 61, "61.0 s in the future"),
            (NOW + HOUR, "60.0 minutes in the future .* time zone"),
            (NOW * 1000, "in the future .* seconds since 1970"),
            (1e17, "days in the future"),
            (NOW - 11 * 86_400, "11.0 days in the past"),
            (0.0, "1970-01-01T00:00:00Z lies .* in the past; .* 10.0 days old"),
        ],
    )
    def test_bad(self, time: float, words: str) -> None:
        """It is said by how much a time is off, and what may be wrong."""
        with pytest.raises(InvalidInput, match=words):
            self.RULES.check(time, NOW)


@given(st.floats(0.001, 4e9), st.integers(1, 100_000))
def test_a_span_in_buckets(seconds: float, points: int) -> None:
    """However a span lies, it touches at most as many buckets as asked for, unless even one is too many."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    width = model.bucket_width(Span(start, start + timedelta(seconds=seconds)), points)
    assert width >= 1
    assert points == 1 or math.floor(seconds / width) + 1 <= points


def test_wide_buckets_are_whole_minutes() -> None:
    """From a minute on, roll-ups can be used."""
    assert all(width % model.MINUTE == 0 for width in model.WIDTHS if width >= model.MINUTE)


def test_a_point_in_columns() -> None:
    """Its cells are those of the header, empty ones included."""
    bands: dict[str, Any] = dict.fromkeys(model.FIGURES)
    point = model.Point(datetime.fromtimestamp(0, UTC), 0.0, 1, **(bands | {"cpu": model.MinAvgMax(1.0, 2.0, 3.0)}))
    cells = dict(zip(model.POINT_COLUMNS, model.flat(point), strict=True))
    assert (cells["time"], cells["cpu_min"], cells["cpu_avg"], cells["cpu_max"], cells["mem_avg"]) == (
        *("1970-01-01T00:00:00+00:00", 1.0, 2.0, 3.0),
        None,
    )
