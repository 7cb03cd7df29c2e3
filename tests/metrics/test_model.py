"""The rules of the feature without I/O: times without a zone, tags, ids of tests, and the grouping of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.errors import InvalidInput
from smartmob.metrics import model
from smartmob.metrics.model import RunMember, group_runs, local_to_utc, run_id

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _utc(text: str, duration: float = 0.0, received_at: datetime | None = NOON) -> datetime:
    seconds = local_to_utc("$.x", text, duration, received_at.timestamp() if received_at else None)
    return datetime.fromtimestamp(seconds, UTC)


class TestLocalToUtc:
    """Start times from senders that send a local time without a zone."""

    @given(
        quarters=st.integers(-12 * 4, 14 * 4),
        lag=st.floats(0, 100),
        duration=st.floats(0, 10_000),
    )
    def test_the_offset_of_a_live_sender_is_found(self, quarters: int, lag: float, duration: float) -> None:
        """For any offset the start is right if the sender sends soon after the end of the test."""
        truth = NOON - timedelta(seconds=duration + lag)
        local = (truth + timedelta(minutes=15 * quarters)).replace(tzinfo=None)

        found = local_to_utc("$.x", local.isoformat(), duration, NOON.timestamp())

        assert abs(found - truth.timestamp()) < 0.001

    def test_a_time_with_a_zone_is_taken_as_it_is(self) -> None:
        """The arrival does not matter for a time with a zone."""
        assert _utc("2026-11-20T12:00:00+02:00") == datetime(2026, 11, 20, 10, tzinfo=UTC)
        assert _utc("2026-11-20T12:00:00Z", received_at=None) == NOON

    @pytest.mark.parametrize("text", ["2020-01-01T00:00:00", "2026-11-20T12:07:30", "2026-11-21T12:00:00"])
    def test_a_time_far_from_its_arrival_is_local(self, text: str) -> None:
        """A time that is not near a multiple of 15 minutes from its arrival is in the zone of this machine."""
        assert _utc(text) == datetime.fromisoformat(text).astimezone(UTC)

    def test_a_time_from_a_file_is_local(self) -> None:
        """A time without an arrival is in the zone of this machine."""
        text = "2026-11-20T12:00:00"
        assert _utc(text, received_at=None) == datetime.fromisoformat(text).astimezone(UTC)

    @pytest.mark.parametrize(
        "text", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "0001-01-01T00:00:00+14:00",
                 "9999-12-31T23:59:59-14:00"]
    )  # fmt: skip
    def test_the_ends_of_the_calendar_are_valid_times(self, text: str) -> None:
        """The results are times that the database can store."""
        assert _utc(text).year in (1, 9999)
        assert _utc(text, received_at=None).year in (1, 9999)

    @pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-20T25:00:00", "1e9", "12:00", "\0"])
    def test_an_invalid_date_is_refused(self, text: str) -> None:
        """The error names the field."""
        with pytest.raises(InvalidInput) as refused:
            local_to_utc("$.run_date", text, 0.0, None)
        assert refused.value.faults[0].where == "$.run_date"

    @given(st.text())
    def test_any_text_is_a_date_or_refused(self, text: str) -> None:
        """No text causes another error than InvalidInput."""
        try:
            local_to_utc("$.x", text, 0.0, 0.0)
        except InvalidInput:
            pass


class TestTags:
    """The tags of a session's description."""

    @given(st.dictionaries(st.text(), st.text()))
    def test_an_object_of_texts_stays_as_it_is(self, description: dict[str, str]) -> None:
        """Names, values and their order are kept."""
        assert list(model.tags_of(description).items()) == list(description.items())

    def test_other_values_become_their_json(self) -> None:
        """The value of a tag is always a text."""
        assert model.tags_of({"a": 1, "b": None, "c": {"d": [True]}}) == {"a": "1", "b": "null", "c": '{"d":[true]}'}


class TestItemId:
    """The ids of tests."""

    @given(st.lists(st.tuples(*[st.text(max_size=3)] * 6), min_size=2, max_size=2, unique=True))
    def test_different_tests_have_different_ids(self, keys: list[Any]) -> None:
        """Ids differ even if only the boundaries between the texts differ."""
        assert model.item_id(keys[0]) != model.item_id(keys[1])

    def test_the_id_of_a_test_never_changes(self) -> None:
        """Ids are stored, so the same texts must give the same id in every release."""
        assert str(model.item_id(("p", "i", "v", "f", "function", ""))) == "b955a1c4-8ff7-e964-665c-35463e18c92c"


def _member(name: str, second: float, node: str | None = "one", key: str = "k", tag: str | None = None) -> RunMember:
    return RunMember(name, NOON + timedelta(seconds=second), tag, key, node)


RUNS: dict[str, tuple[list[RunMember], list[str]]] = {
    "nothing": ([], []),
    "one session": ([_member("a", 0)], ["a"]),
    "workers of one run": ([_member("a", 0), _member("b", 1), _member("c", 2)], ["abc"]),
    "each within the window of the one before": ([_member("a", 0), _member("b", 5), _member("c", 10)], ["abc"]),
    "one run after the other": ([_member("a", 0), _member("b", 5.1)], ["a", "b"]),
    "two machines at once": ([_member("a", 0), _member("b", 1, "two"), _member("c", 2)], ["ac", "b"]),
    "two commits at once": ([_member("a", 0), _member("b", 1, key="other")], ["a", "b"]),
    "the controller of parallel workers": ([_member("x", 0, None), _member("a", 1), _member("b", 2)], ["xab"]),
    "a controller between two machines": (
        [_member("a", 0, "one"), _member("x", 3, None), _member("b", 4, "two")], ["a", "xb"]
    ),
    "sessions that measured nothing": (
        [_member("x", 0, None), _member("y", 1, None), _member("z", 60, None)], ["xy", "z"]
    ),
    "an explicit run": (
        [_member("a", 0, tag="T"), _member("b", 999, "two", "other", "T"), _member("c", 1)], ["ab", "c"]
    ),
    "a controller does not join an explicit run": ([_member("a", 0, tag="T"), _member("x", 1, None)], ["a", "x"]),
}  # fmt: skip


class TestGroupRuns:
    """The grouping of sessions to runs."""

    @pytest.mark.parametrize("case", RUNS)
    @given(data=st.data())
    def test_sessions_form_the_same_runs_in_any_order(self, case: str, data: st.DataObject) -> None:
        """The runs do not depend on the order in which sessions are read."""
        members, expected = RUNS[case]

        runs = group_runs(data.draw(st.permutations(members)), timedelta(seconds=5))

        assert ["".join(member.session_h for member in run) for run in runs] == expected

    @given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([None, "one", "two"]), st.sampled_from([None, "T"]))))
    def test_no_session_is_lost_or_doubled(self, drawn: list[tuple[int, str | None, str | None]]) -> None:
        """Each session is in exactly one run, and runs and sessions are sorted by their start."""
        members = [_member(str(n), second, node, tag=tag) for n, (second, node, tag) in enumerate(drawn)]

        runs = group_runs(members, timedelta(seconds=5))

        assert sorted(member.session_h for run in runs for member in run) == sorted(m.session_h for m in members)
        assert all(run == sorted(run, key=lambda m: (m.started_at, m.session_h)) for run in runs)
        starts = [run[0].started_at for run in runs]
        assert starts == sorted(starts)

    def test_the_id_of_a_run_is_its_tag_or_first_session(self) -> None:
        """A run with a tag has the tag as its id, another one the hash of its first session."""
        assert run_id([_member("a", 0, tag="T"), _member("b", 1, tag="T")]) == "T"
        assert run_id([_member("a", 0), _member("b", 1)]) == "a"


def test_a_deeply_nested_description_is_a_text() -> None:
    """A text that is too deep for the JSON parser is stored as a text."""
    text = "[" * 20_000
    assert model.tags_of(text) == {"description": text}
