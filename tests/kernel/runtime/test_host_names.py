"""When two names mean the same host."""

from __future__ import annotations

import pytest

from smartmob.kernel.runtime.host_names import is_same_host


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("rack7", "RACK7", True),
        ("rack7", "rack7.lab.example", True),
        ("rack7.lab.example", "rack7", True),
        ("rack7.lab.example", "rack7.other.example", False),
        ("rack7", "rack70", False),
    ],
)
def test_one_of_two_names_of_a_host_may_lack_its_domain(one: str, other: str, same: bool) -> None:
    """Hosts are the same when their names are, or when one name is the other without its domain."""
    assert is_same_host(one, other) is same
