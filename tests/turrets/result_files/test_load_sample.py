"""The common form of results."""

from __future__ import annotations

import pytest

from smartmob.turrets.result_files.load_sample import MOST_USER_COUNTS, FileAccount, UserCounts, is_valid_time


@pytest.mark.parametrize(("end", "valid"), [(0.0, False), (1.7e9, True), (1.7e12, False), (float("nan"), False)])
def test_only_times_of_this_century_are_valid(end: float, valid: bool) -> None:
    """Milliseconds that are taken for seconds, and times near 1970, are no times of a test."""
    assert is_valid_time(end) is valid


def test_a_note_is_kept_once() -> None:
    """A file is read twice, and says the same."""
    account = FileAccount()
    for _ in range(2):
        account.note("said")
    assert list(account.notes) == ["said"]


def test_users_over_time_are_kept_in_bounded_steps() -> None:
    """The largest number of each step counts; repetitions and what has no valid time or number are left out."""
    counts = UserCounts()
    for at, users in ((5.2, 3.0), (5.9, 4.0), (6.1, 4.0), (7.0, 4.0), (8.0, 1.0), (-2e9, 9.0), (9.0, None)):
        counts.add(1_700_000_000 + at, users)
    assert counts.since(1_700_000_005.5) == [(0.0, 4), (2.5, 1)]
    long = UserCounts()
    for second in range(10 * MOST_USER_COUNTS):
        long.add(1_700_000_000 + second, float(second))
    found = long.since(1_700_000_000)
    assert len(found) <= MOST_USER_COUNTS + 1
    assert found[-1][1] == 10 * MOST_USER_COUNTS - 1
