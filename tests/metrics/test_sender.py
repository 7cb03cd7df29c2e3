"""The machine of a session, by the address from which it came."""

from __future__ import annotations

import pytest

from smartmob.metrics.sender import LIVE_SECONDS, Sender, host_of

SENDER = Sender("192.0.2.7", is_local=False)


class _Hosts:
    """One machine that reports from one address, and the machine of the service."""

    def host_at(self, address: str, *, is_local: bool) -> str | None:
        return "own" if is_local else {"192.0.2.7": "rack7"}.get(address)


@pytest.mark.parametrize(
    ("sender", "age", "expected"),
    [
        (SENDER, 0.0, "rack7"),
        (SENDER, LIVE_SECONDS, "rack7"),
        (SENDER, -LIVE_SECONDS, "rack7"),
        (SENDER, LIVE_SECONDS + 1.0, None),
        (SENDER, 86_400.0, None),
        (Sender("192.0.2.8", is_local=False), 0.0, None),
        (Sender("127.0.0.1", is_local=True), 0.0, "own"),
        (None, 0.0, None),
    ],
)
def test_a_session_that_was_just_measured_is_of_the_machine_that_sent_it(
    sender: Sender | None, age: float, expected: str | None
) -> None:
    """An older session comes from a file, which may have been measured anywhere."""
    assert host_of(sender, _Hosts(), 1e9 - age, 1e9) == expected


def test_without_a_source_of_addresses_no_session_has_a_machine() -> None:
    """The feature works without the one that watches machines."""
    assert host_of(SENDER, None, 1e9, 1e9) is None
