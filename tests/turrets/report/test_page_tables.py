"""The tables of a report."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.turrets.model import Absence, ErrorText
from smartmob.turrets.report import page_tables
from tests.turrets.report.runs import STARTED, found
from tests.turrets.report.test_trust import FINE


def test_ok_and_failed_are_apart() -> None:
    """A timer has the counts of both, and the share of the failed ones."""
    (own, _) = page_tables.timers([found()[0]], ["All transactions", "page"]).shown()
    texts = {name: text for name, _, text in own}
    assert (texts["count"], texts["OK"], texts["failed"], texts["failed %"]) == ("20", "10", "10", "50.00%")


def test_percentiles_of_few_values_are_marked() -> None:
    """With 20 values, ten lie above the median, and fewer above each higher percentile."""
    (own,) = page_tables.timers([found()[0]], ["All transactions"]).shown()
    assert [name for name, _, text in own if text.endswith("*")] == ["p80", "p90", "p95", "p99", "p99.9", "p99.99"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"status": "Running"}, "done"),
        ({"status": "ready"}, "done"),
        ({"status": "Aborted"}, "Aborted"),
        ({"status": "Running", "lost": [Absence(STARTED)]}, "lost"),
        ({"status": "Running", "lost": [Absence(STARTED, STARTED)]}, "done"),
    ],
)
def test_a_finished_run_has_no_running_turrets(changes: dict[str, Any], word: str) -> None:
    """The last status of a turret is from before the end, so the end is shown."""
    member = msgspec.structs.replace(FINE, **changes)
    assert page_tables.outcome(member) == word
    table = page_tables.turrets([member], ended=True)
    assert word in table.rows[0]
    assert ("at the end", "left") in table.columns
    assert ("status", "left") in page_tables.turrets([member], ended=False).columns


def test_errors_have_their_share_of_all_transactions() -> None:
    """A run without a transaction has no division by zero."""
    assert page_tables.errors([ErrorText("boom", 5)], 20).rows == [["boom", 5, 0.25]]
    assert page_tables.errors([ErrorText("boom", 5)], 0).rows == [["boom", 5, 5.0]]


@pytest.mark.parametrize(
    ("new", "old", "shown"),
    [(1.1, 1.0, "+10.0%"), (0.5, 1.0, "-50.0%"), (1.001, 1.0, "same"), (1.0, 0.0, ""), (None, 1.0, "")],
)
def test_a_change_is_a_share_of_the_old_value(new: float | None, old: float | None, shown: str) -> None:
    """Small changes are the same, and a missing value has no change."""
    assert page_tables.change(new, old) == shown
