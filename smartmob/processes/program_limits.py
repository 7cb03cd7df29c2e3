"""The limits of one running program: the means that enforce them, and whether they have ended the program.

A delegated control group enforces all limits. Without one, memory and tasks are compared with each sample of the
program, and processor time is not limited: a lower limit of one process (setrlimit(2)) would not limit the whole
program.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.processes.model import CGROUP, NOT_ENFORCED, SAMPLING, Enforcement, Limits, Sample

_CONTROLLERS = {"memory": "memory", "cpu": "cpu", "tasks": "pids"}
_MIB = 1024 * 1024  # bytes


def enforcement(limits: Limits, controllers: Collection[str]) -> dict[str, Enforcement]:
    """Return the means that enforce each limit of a program, by name; `controllers` are those of its control group."""
    found: dict[str, Enforcement] = {}
    for name, controller in _CONTROLLERS.items():
        if getattr(limits, name) is not None:
            otherwise: Enforcement = NOT_ENFORCED if name == "cpu" else SAMPLING
            found[name] = CGROUP if controller in controllers else otherwise
    return found


def remark(limits: Limits, enforced: Mapping[str, Enforcement], seconds: float, reason: str) -> str:
    """Return which limits are not enforced by the kernel and why, or ""; `seconds` is the time between samples."""
    checked = [name for name, by in enforced.items() if by == SAMPLING]
    parts = [f"{' and '.join(checked)} checked every {seconds:g} s only"] if checked else []
    parts += [f"{name} NOT limited" for name, by in enforced.items() if by == NOT_ENFORCED]
    return f"limits: {', '.join(parts)} ({reason})" if parts else ""


class ProgramLimits:
    """The limits of one program, which is in `group` if that is not None. `close` it when the program is gone.

    `enforced` is the result of `enforcement`.
    """

    def __init__(self, limits: Limits, enforced: Mapping[str, Enforcement], group: ControlGroup | None) -> None:
        self._limits = limits
        self._enforced = enforced
        self._group = group
        self._exceeded = ""

    def exceeded(self, sample: Sample) -> bool:
        """Return whether a sample is above a limit that no control group enforces."""
        memory, tasks = (
            getattr(self._limits, name) if self._enforced.get(name) == SAMPLING and not self._exceeded else None
            for name in ("memory", "tasks")
        )
        if memory is not None and sample.memory > memory:
            self._exceeded = f"it used {size(sample.memory)} of memory, and its limit is {size(memory)}"
        elif tasks is not None and sample.tasks > tasks:
            self._exceeded = f"it had {sample.tasks} tasks, and its limit is {tasks}"
        else:
            return False
        return True

    def cause(self) -> str:
        """Return the limit by which the program was ended, or ""."""
        if self._group is None or self._exceeded:
            return self._exceeded
        events = self._group.events()
        if events["oom_kill"] and self._limits.memory is not None:
            return f"OOM killed: it used more memory than its limit of {size(self._limits.memory)}"
        if events["tasks"] and self._limits.tasks is not None:
            return f"it could start no more tasks: its limit is {self._limits.tasks}"
        return ""

    def close(self) -> None:
        """Remove the control group."""
        if self._group is not None:
            self._group.remove()


def size(value: int) -> str:
    """Return a number of bytes as people write a limit: 256 MiB."""
    return f"{value / _MIB:.4g} MiB" if value < 1024 * _MIB else f"{value / _MIB / 1024:.4g} GiB"
