"""Sessions grouped to runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics.grouping import RunMember, group_runs, run_id

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


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
