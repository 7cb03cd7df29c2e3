"""The options `--memory`, `--cpu` and `--tasks` of commands that start processes, and how limits are shown."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from smartmob.cli import printing
from smartmob.cli.number_options import Number
from smartmob.cli.process_selection import Status
from smartmob.processes.model import NOT_ENFORCED

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
"""The units as Docker, systemd and pm2 read them in memory limits."""
_LEAST_BYTES, _MOST_BYTES = 1024 * 1024, 1 << 50
"""The bounds of a memory limit, which are those of the service: 1 MiB and 1 PiB."""


class MemorySize(click.ParamType[int]):
    """A number of bytes, as 268435456, 256M, 256MiB or 0.5G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r}: expected bytes with or without a unit of 1024, as in 256M or 1.5G", param, ctx)
        found = round(float(match[1]) * _UNITS[(match[2] or "").upper()])
        if found < _LEAST_BYTES:
            self.fail(f"{value!r}: expected at least 1M", param, ctx)
        if found > _MOST_BYTES:
            self.fail(f"{value!r}: expected at most 1024T", param, ctx)
        return found


def with_limits(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as the argument `limits`: a dictionary without those not given."""

    @click.option("--memory", metavar="SIZE", type=MemorySize(),
                  help="Memory of each program and its descendants, like 256M.  [default: the service's]")  # fmt: skip
    @click.option("--cpu", metavar="N", type=Number(0.01, 1024),
                  help="Processors that each may use, like 0.5.  [default: the service's]")  # fmt: skip
    @click.option("--tasks", metavar="N", type=click.IntRange(1, 4_194_304),
                  help="Processes and threads that each may have.  [default: the service's]")  # fmt: skip
    @functools.wraps(function)
    def with_dictionary(
        *positional: Any, memory: int | None, cpu: float | None, tasks: int | None, **named: Any
    ) -> Any:
        given = {"memory": memory, "cpu": cpu, "tasks": tasks}
        limits = {name: value for name, value in given.items() if value is not None}
        return function(*positional, limits=limits, **named)

    return with_dictionary


def cpu_use(process: Status) -> str | None:
    """Return the processor use of a process in percent of one processor, and its limit."""
    used, limit = process["cpu_percent"], _limit(process, "cpu")
    return None if used is None else f"{used:.1f} %" + ("" if limit is None else f" of {100 * limit:g} %")


def memory_use(process: Status) -> str:
    """Return the memory use of a process, and its limit."""
    limit = _limit(process, "memory")
    used = printing.size(process["memory"])
    return used if limit is None or process["memory"] is None else f"{used} of {printing.size(limit)}"


def _limit(process: Status, name: str) -> float | None:
    """Return a limit that holds; None if there is none, or if the service does not know limits."""
    limits, enforced = process.get("limits") or {}, process.get("limits_enforced") or {}
    return None if enforced.get(name, NOT_ENFORCED) == NOT_ENFORCED else limits.get(name)
