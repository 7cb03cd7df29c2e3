"""The refused logins that are recorded, with a clock that the tests set."""

from __future__ import annotations

from smartmob.kernel.audit.refused_logins import MOST_RECORDED, WINDOW_SECONDS, RefusedLogins


def test_an_address_is_recorded_at_each_tenfold() -> None:
    """A long guess shows how long it was, and an hour later it begins anew."""
    logins = RefusedLogins()
    assert [found for number in range(1_500) if (found := logins.count("10.0.0.9", number / 1_000))] == [
        1,
        10,
        100,
        1_000,
    ]
    assert logins.count("10.0.0.9", WINDOW_SECONDS) == 1


def test_a_flood_of_many_addresses_is_bounded() -> None:
    """So are the addresses that are counted; an hour later there is room again."""
    logins = RefusedLogins()
    recorded = [logins.count(f"address {number}", 5.0) for number in range(10_000)]
    assert [each for each in recorded if each] == [1] * MOST_RECORDED
    assert len(logins._counts) < 5_000
    assert logins.count("late", 5.0 + WINDOW_SECONDS) == 1
