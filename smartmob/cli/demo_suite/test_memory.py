"""Tests that take memory for a moment, for `smartmob demo`."""

import pytest

pytest_monitor_component = "memory"


@pytest.mark.parametrize("megabytes", [1, 16, 64])
def test_allocate(megabytes):
    """Hold some memory."""
    block = bytearray(megabytes * 1024 * 1024)
    block[::4096] = b"x" * len(block[::4096])
    assert len(block) == megabytes * 1024 * 1024


def test_join_texts():
    """Make one long text of many short ones."""
    assert len(",".join(str(number) for number in range(200_000))) > 1_000_000
