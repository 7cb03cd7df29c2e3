"""Names and client ids of machines, rows of samples, and buckets of spans."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from smartmob.errors import InvalidInput
from smartmob.hosts import fields, model
from smartmob.hosts.fields import FileSystem, StaleField
from smartmob.hosts.model import SampleData, TimeRules
from tests.hosts.samples import snapshot

DISKS = {"/data": FileSystem(1.0, 2.0)}
NOW = 1_795_400_000.0
HOUR = 3600.0


class TestSamples:
    """Rows of samples."""

    def test_both_names_of_the_load_and_of_the_time_are_read(self) -> None:
        """`cpu_load` and `cpu`, `time` and `unix_time`."""
        one = model.sample_row("a", SampleData(cpu_load=5.0, time=NOW), 1)
        two = model.sample_row("a", SampleData(cpu=5.0, unix_time=NOW), 1)
        assert one == two
        assert (one.host, one.at, one.n, one.values[:2]) == ("a", NOW, 1, (5.0, None))

    def test_a_sample_keeps_its_id(self) -> None:
        """The id of a sample identifies it when it is sent again."""
        assert model.sample_row("a", SampleData(time=NOW, id=77), 1).n == 77

    def test_a_sample_without_a_time_is_refused(self) -> None:
        """The error names the field."""
        with pytest.raises(InvalidInput, match="time: this field is required"):
            model.sample_row("a", SampleData(cpu=1.0), 1)

    @pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, -math.inf, 1e18])
    @pytest.mark.parametrize("name", [*fields.NAMES, "time"])
    def test_an_invalid_value_is_refused_with_its_name(self, name: str, value: float) -> None:
        """Every value must be a finite number from 0; the error names the field."""
        data = SampleData(**({"time": NOW} | {name: value}))
        with pytest.raises(InvalidInput) as caught:
            model.sample_row("a", data, 1)
        assert caught.value.faults[0].where == name

    def test_details_are_stored_up_to_a_limit(self) -> None:
        """Processors and temperatures are stored as JSON; too many are left out and named, NUL characters refused."""
        row = model.sample_row("a", SampleData(time=NOW, cores=[1.0], temperatures={"x": 2.0}), 1)
        assert row.detail == '{"cores":[1.0],"temperatures":{"x":2.0}}'
        row = model.sample_row("a", SampleData(time=NOW, totals={"mem": 16_000.0}, file_systems=DISKS), 1)
        assert row.detail == '{"totals":{"mem":16000.0},"file_systems":{"/data":{"used":1.0,"total":2.0}}}'
        row = model.sample_row("a", SampleData(time=NOW, cores=[1.0], temperatures={"x" * 17_000: 1.0}), 1)
        assert row.detail == '{"unread":["temperatures"],"cores":[1.0]}'
        row = model.sample_row("a", SampleData(time=NOW, cpu=1.0, cores=[1.0] * 10_000), 1)
        assert (row.values[0], row.detail) == (1.0, '{"unread":["cores"]}')
        with pytest.raises(InvalidInput, match="NUL"):
            model.sample_row("a", SampleData(time=NOW, temperatures={"\0": 2.0}), 1)

    def test_the_texts_of_a_form_become_numbers(self) -> None:
        """Unknown fields are ignored."""
        data = model.form_data({"cpu_load": "25.9", "mem": "6172", "time": "1646650624", "other": "x"})
        assert (data.cpu_load, data.mem, data.time) == (25.9, 6172.0, 1646650624.0)
        assert model.as_numbers(data) == {"cpu_load": 25.9, "mem": 6172, "time": 1646650624}
        assert [type(value) for value in model.as_numbers(data).values()] == [float, int, int]

    def test_fields_that_are_not_stored_are_named(self) -> None:
        """Unknown keys and temperatures that are no number are named, without characters that control a terminal."""
        data = model.read_sample(
            {"time": 1, "cpu_percent": 5, "a\x1b\ud800": 1, "temperatures": {"a\0": 1.0, "b": math.nan}}
        )
        assert data.unread == ["a\ufffd\ufffd", "cpu_percent", "temperatures.b"]
        assert data.temperatures == {"a\ufffd": 1.0}
        assert model.form_data({"time": "1", "cpu_percent": "5", "mem": "1"}).unread == ["cpu_percent"]
        assert model.read_sample({"time": 1, "mem": 5}).unread is None
        many = model.read_sample({"time": 1, **{f"x{number}": 1 for number in range(1000)}})
        assert many.unread is not None
        assert len(many.unread) == 32

    def test_the_newest_sample_has_the_age_of_each_field(self) -> None:
        """A figure that could not be measured is null, and has its last value, its age and the reason beside it."""
        detail = {"stale": {"mem": {"value": 7.0, "age": 100.0, "reason": "gone"}, "swap": {"reason": "never"}}}
        values = dict.fromkeys(model.NAMES, None) | {"cpu": 1.0}
        at = datetime.fromtimestamp(NOW, UTC)
        latest = model.latest_of(at, values, detail, at + timedelta(seconds=5))
        assert (latest.age, latest.ages) == (5.0, {"cpu": 5.0, "mem": 105.0, "swap": None})
        assert latest.stale["mem"] == StaleField(7.0, 105.0, "gone")
        assert (latest.mem, latest.unread, latest.container) == (None, [], None)

    @pytest.mark.parametrize("fields", [{"mem": "x"}, {"time": ""}, {"mem": "1,5"}, {"id": "-1"}])
    def test_a_form_without_numbers_is_refused(self, fields: dict[str, str]) -> None:
        """A text that is not a number is an error."""
        with pytest.raises(InvalidInput, match="value error"):
            model.form_data(fields)

    def test_a_snapshot_has_the_names_and_units_of_a_sample(self) -> None:
        """A snapshot becomes the fields of a sample message."""
        fields = model.sample_fields(snapshot())
        assert (fields["cpu_load"], fields["mem"], fields["storage"], fields["load"]) == (12.5, 3072, 25_600, 0.5)
        assert set(fields) <= set(SampleData.__struct_fields__)


class TestTimes:
    """The times that a sample may have."""

    RULES = TimeRules(ahead=60.0, oldest=10 * 86_400.0)

    @pytest.mark.parametrize("off", [0.0, 60.0, -10 * 86_400.0, -1.5])
    def test_times_are_valid_until_a_little_ahead_of_now(self, off: float) -> None:
        """From the oldest accepted time to a little ahead of now."""
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
    def test_an_invalid_time_is_refused_with_the_difference(self, time: float, words: str) -> None:
        """The error says how far the time is off, and what may be the reason."""
        with pytest.raises(InvalidInput, match=words):
            self.RULES.check(time, NOW)
