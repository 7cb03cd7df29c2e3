"""What a turret has to deliver."""

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


def test_in_order() -> None:
    """Messages leave in the order of their numbers, and stay until they are acknowledged."""
    made = _filled(3)
    assert _send(made, 2) == [1, 2]
    assert len(made) == 3
    made.acknowledge(1)
    assert (len(made), made.sequence) == (2, 3)
    assert _send(made, 1) == [3]
    assert made.next() is None


def test_repeated() -> None:
    """Everything that is not acknowledged leaves once more, in order, before what is new."""
    made = _filled(5)
    _send(made, 4)
    made.acknowledge(2)
    made.repeat()
    assert _send(made, 3) == [3, 4, 5]


def test_acknowledged_before_it_was_sent_again() -> None:
    """What the headquarters had after all is not sent again."""
    made = _filled(5)
    _send(made, 5)
    made.repeat()
    made.acknowledge(4)
    assert _send(made, 1) == [5]


def test_without_numbers() -> None:
    """Towards a headquarters of OCT nothing is kept that was sent."""
    made = Outbox(numbered=False)
    made.put(b"a")
    made.sent()
    assert (len(made), made.bytes) == (0, 0)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says when it is full, by number and by size, and when it is not any more."""
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
def test_any_history(seed: int) -> None:
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
