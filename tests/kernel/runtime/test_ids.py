"""Identifiers: UUID version 7."""

from __future__ import annotations

import time

from smartmob.kernel.runtime.ids import uuid7


def test_ids_ascend_and_differ() -> None:
    """Many ids of one millisecond are ascending, too."""
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_has_version_7_and_its_time() -> None:
    """The layout is that of RFC 9562."""
    before = int(time.time() * 1000)
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    # A burst of ids may run ahead of the clock by the counter's carry.
    assert before - 1 <= made.int >> 80 <= before + 10_000
