"""The options of limits, and how limits are shown."""

from __future__ import annotations

from typing import Any

import click
import pytest

from smartmob.cli.limit_options import MemorySize, cpu_use, memory_use
from smartmob.cli.number_options import Number


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20),
        ("256M", 256 << 20),
        ("256m", 256 << 20),
        ("256MB", 256 << 20),
        ("256 MiB", 256 << 20),
        ("1.5G", 3 << 29),
        ("2048k", 2 << 20),
        ("1T", 1 << 40),
        ("5000000b", 5_000_000),
    ],
)
def test_sizes_are_read_as_docker_systemd_and_pm2_read_them(text: str, size: int) -> None:
    """Units are of 1024, in either case."""
    assert MemorySize().convert(text, None, None) == size


@pytest.mark.parametrize(
    "text", ["", "M", "256X", "-1M", "50%", "infinity", "1e9", "1,5G", "1000", "0.5M", "1 G M", "1025T"]
)
def test_other_sizes_are_refused(text: str) -> None:
    """A text that is no size, or a size below any program, is an error that shows an example."""
    with pytest.raises(click.BadParameter, match=r"256M|at least 1M|at most 1024T"):
        MemorySize().convert(text, None, None)


def test_limits_that_hold_are_shown_beside_the_use() -> None:
    """A limit that nothing enforces is not shown as one, and a service that knows no limits has none."""
    process: dict[str, Any] = {"cpu_percent": 12.34, "memory": 20_000_000}
    assert (cpu_use(process), memory_use(process)) == ("12.3 %", "20.0 MB")
    process |= {"limits": {"memory": 256_000_000, "cpu": 0.5, "tasks": None}}
    process |= {"limits_enforced": {"memory": "sampling", "cpu": "cgroup"}}
    assert (cpu_use(process), memory_use(process)) == ("12.3 % of 50 %", "20.0 MB of 256.0 MB")
    process["limits_enforced"] = {"memory": "sampling", "cpu": "none"}
    assert cpu_use(process) == "12.3 %"
    process |= {"cpu_percent": None, "memory": None}
    assert (cpu_use(process), memory_use(process)) == (None, "-")


@pytest.mark.parametrize("text", ["nan", "inf", "0", "many"])
def test_a_number_of_processors_is_finite_and_more_than_none(text: str) -> None:
    """NaN would be sent as no limit."""
    with pytest.raises(click.BadParameter):
        Number(0.01, 1024).convert(text, None, None)
