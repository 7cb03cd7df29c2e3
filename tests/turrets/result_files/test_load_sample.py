"""The common form of results."""

from __future__ import annotations

import pytest

from smartmob.turrets.result_files.load_sample import FileAccount, is_placed


@pytest.mark.parametrize(("end", "placed"), [(0.0, False), (1.7e9, True), (1.7e12, False), (float("nan"), False)])
def test_only_times_of_this_century_are_valid(end: float, placed: bool) -> None:
    """Milliseconds that are taken for seconds, and times near 1970, are no times of a test."""
    assert is_placed(end) is placed


def test_a_note_is_kept_once() -> None:
    """A file is read twice, and says the same."""
    account = FileAccount()
    for _ in range(2):
        account.note("said")
    assert list(account.notes) == ["said"]
