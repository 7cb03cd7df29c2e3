"""The outbox of a turret."""

from __future__ import annotations

import random

import pytest

from smartmob.turrets.turret import outbox
from smartmob.turrets.turret.outbox import Outbox


def _filled(count: int) -> Outbox:
    made = Outbox()
    for _ in range(count):
        made.put(str(made.number()).encode())
    return made


def _send(box: Outbox, count: int) -> list[int]:
    sent = []
    for _ in range(count):
        frame = box.next()
        assert frame is not None
        box.sent()
        sent.append(int(frame))
    return sent


def test_messages_stay_until_they_are_acknowledged() -> None:
    """They are sent in the order of their numbers."""
    made = _filled(3)
    assert _send(made, 2) == [1, 2]
    assert len(made) == 3
    made.acknowledge(1)
    assert (len(made), made.sequence) == (2, 3)
    assert _send(made, 1) == [3]
    assert made.next() is None


def test_unacknowledged_messages_are_repeated_before_new_ones() -> None:
    """In their order."""
    made = _filled(5)
    _send(made, 4)
    made.acknowledge(2)
    made.repeat()
    assert _send(made, 3) == [3, 4, 5]


def test_an_acknowledged_message_is_not_sent_again() -> None:
    """An acknowledgement between repetition and sending counts."""
    made = _filled(5)
    _send(made, 5)
    made.repeat()
    made.acknowledge(4)
    assert _send(made, 1) == [5]


def test_messages_without_numbers_are_not_kept() -> None:
    """For a headquarters of OCT a sent message is removed."""
    made = Outbox(numbered=False)
    made.put(b"a")
    made.sent()
    assert (len(made), made.bytes) == (0, 0)


def test_it_is_full_by_count_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not full any more after an acknowledgement."""
    monkeypatch.setattr(outbox, "MOST_MESSAGES", 3)
    made = _filled(3)
    assert made.full
    made.acknowledge(1)
    assert not made.full
    monkeypatch.setattr(outbox, "MOST_BYTES", 2)
    assert made.full
    assert made.discard() == 2
    assert (made.full, made.bytes, made.next()) == (False, 0, None)


@pytest.mark.parametrize("seed", range(50))
def test_a_receiver_gets_each_message_once(seed: int) -> None:
    """With losses and repetitions, a receiver that takes only the next number gets all of them once."""
    source = random.Random(seed)
    made, received = Outbox(), 0
    for _ in range(300):
        match source.randrange(4):
            case 0:
                made.put(str(made.number()).encode())
            case 1 if made.next() is not None:
                (number,) = _send(made, 1)
                if number == received + 1 and source.random() < 0.8:
                    received = number
            case 2:
                made.acknowledge(received)
            case 3 if source.random() < 0.2:
                made.repeat()
    while received < made.sequence:
        made.repeat()
        for number in _send(made, len(made)):
            received = number if number == received + 1 else received
        made.acknowledge(received)
    assert (len(made), made.bytes) == (0, 0)
