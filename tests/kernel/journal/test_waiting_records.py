"""The records of a node that wait for its service."""

from __future__ import annotations

import msgspec

from smartmob.kernel.journal.waiting_records import Outbox, Outgoing


def _record(number: int, size: int = 10) -> Outgoing:
    return Outgoing(number, "k", msgspec.Raw(b"1" * size))


def _numbers(outbox: Outbox) -> list[int]:
    return [record.number for record in outbox.all()]


def test_records_wait_in_their_order_until_they_are_delivered() -> None:
    """A number that was delivered before, or never existed, changes nothing."""
    outbox = Outbox()
    for number in range(1, 6):
        assert outbox.add(_record(number)) == 0
    outbox.delivered(3)
    outbox.delivered(2)
    assert _numbers(outbox) == [4, 5]
    assert outbox.next == 6
    outbox.delivered(99)
    assert not outbox
    assert outbox.next == 6


def test_too_many_records_drop_the_oldest_and_are_counted() -> None:
    """The bound holds for their number and for their bytes."""
    outbox = Outbox(max_records=3, max_bytes=100)
    assert [outbox.add(_record(number)) for number in range(1, 6)] == [0, 0, 0, 1, 1]
    assert outbox.add(_record(6, 90)) == 2
    assert (_numbers(outbox), outbox.dropped) == ([5, 6], 4)
    assert outbox.add(_record(7, 200)) == 2  # one alone may be larger than the bound
    assert _numbers(outbox) == [7]


def test_a_message_has_as_many_records_as_fit() -> None:
    """At least one, so that a large one does not stop the others."""
    outbox = Outbox()
    for number, size in enumerate((50, 10, 10, 40), start=1):
        outbox.add(_record(number, size))
    assert [record.number for record in outbox.first(20)] == [1]
    assert [record.number for record in outbox.first(75)] == [1, 2, 3]
    assert Outbox().first(10) == []


def test_a_stored_state_is_restored() -> None:
    """No number is given twice, and what was dropped stays told."""
    outbox, again = Outbox(max_records=1), Outbox(max_records=1)
    outbox.add(_record(1))
    outbox.add(_record(2))
    again.restore(outbox.state)
    assert (again.next, again.dropped) == (3, 1)
