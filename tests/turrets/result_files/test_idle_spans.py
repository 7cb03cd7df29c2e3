"""The spans without a request in a file, and times that go back."""

from __future__ import annotations

import pytest

from smartmob.turrets.result_files.idle_spans import BusySeconds, gaps_between, parts_doubt

BEGIN = 1_700_000_000.25
HOUR = 3600.0


def _busy(*requests: tuple[float, float]) -> BusySeconds:
    """Return what is known of requests, each given with its begin and its seconds after `BEGIN`."""
    found = BusySeconds()
    for begin, seconds in requests:
        found.add(BEGIN + begin, BEGIN + begin + seconds)
    return found


@pytest.mark.parametrize(
    ("requests", "spans"),
    [
        ([(0, 0.1), (29.8, 0.1)], []),
        ([(0, 0.1), (31, 0.1)], [(1.0, 30.0)]),
        ([(0, 100.0), (101, 0.1)], []),
        ([(3 * HOUR, 1.0), (0, 1.0), (6 * HOUR, 1.0)], [(2.0, 3 * HOUR - 2), (3 * HOUR + 2, 3 * HOUR - 2)]),
        ([(0, 2.0), (30 * 24 * HOUR, 2.0)], [(3.0, 30 * 24 * HOUR - 3)]),
        ([], []),
    ],
)
def test_a_span_without_a_request_under_way_is_found(
    requests: list[tuple[float, float]], spans: list[tuple[float, float]]
) -> None:
    """In whatever order requests come, over days, and not while a long one is under way."""
    found = [(begin - int(BEGIN), seconds) for begin, seconds in _busy(*requests).idle_spans()]
    assert found == spans


def test_the_doubt_tells_the_rate_without_the_gaps() -> None:
    """A file that is mostly idle is not trusted; one with a short gap is, with care."""
    attacks = [(at + second / 10, 0.05) for at in (0.0, 3 * HOUR) for second in range(100)]
    (doubt,) = _busy(*attacks).doubts(200, 3 * HOUR + 10)
    assert doubt.level == "bad"
    assert "under way for 10,789 s of 10,810 s" in doubt.what
    assert "from 2023-11-14 22:13:31 UTC on" in doubt.what
    assert "without these gaps it is 9.52/s" in doubt.what
    steady = [(float(second), 0.5) for second in range(1000) if not 500 <= second < 560]
    assert [doubt.level for doubt in _busy(*steady).doubts(940, 1000.0)] == ["warning"]
    assert _busy(*((float(second), 0.5) for second in range(1000))).doubts(1000, 1000.0) == []


def test_times_that_go_back_are_told() -> None:
    """A clock that was set back, or joined files; a request that took long is neither."""
    minutes = [(float(second), 0.5) for second in range(300)]
    (doubt,) = _busy(*minutes, *minutes).doubts(600, 300.0)
    assert doubt.level == "warning"
    assert "go back once, first by 299 s to 2023-11-14 22:13:20 UTC" in doubt.what
    assert _busy(*minutes, (10.0, 295.0), (305.0, 0.1)).doubts(302, 305.1) == []
    assert "go back 2 times" in _busy(*minutes, *minutes, *minutes).doubts(900, 300.0)[0].what


def test_gaps_between_rows_of_a_table() -> None:
    """Rows come each second, or more rarely; a gap is longer than that."""
    assert gaps_between([0, 1, 2, 100, 101], 1.0) == [(2, 97.0)]
    assert gaps_between([0, 60, 120, 180], 60.0) == []


def test_the_beginnings_of_several_runs_are_told() -> None:
    """One is as it should be."""
    assert [len(parts_doubt(parts)) for parts in (0, 1, 2)] == [0, 0, 1]
