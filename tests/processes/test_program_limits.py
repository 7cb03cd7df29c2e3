"""Limits of programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.processes.model import Enforcement, Limits, Sample
from smartmob.processes.program_limits import ProgramLimits, enforcement, remark, size

_ALL = Limits(memory=256 << 20, cpu=0.5, tasks=40)


@pytest.mark.parametrize(
    ("limits", "controllers", "enforced", "said"),
    [
        (Limits(), [], {}, ""),
        (_ALL, ["cpu", "memory", "pids"], {"memory": "cgroup", "cpu": "cgroup", "tasks": "cgroup"}, ""),
        (
            _ALL,
            [],
            {"memory": "sampling", "cpu": "none", "tasks": "sampling"},
            "limits: memory and tasks checked every 5 s only, cpu NOT limited (why)",
        ),
        (_ALL, ["memory"], {"memory": "cgroup", "cpu": "none", "tasks": "sampling"},
         "limits: tasks checked every 5 s only, cpu NOT limited (why)"),
        (Limits(cpu=1), ["memory"], {"cpu": "none"}, "limits: cpu NOT limited (why)"),
    ],
)  # fmt: skip
def test_what_enforces_each_limit_is_told(
    limits: Limits, controllers: list[str], enforced: dict[str, Enforcement], said: str
) -> None:
    """Nothing that is not enforced is passed over in silence."""
    assert enforcement(limits, controllers) == enforced
    assert remark(limits, enforced, 5.0, "why") == said


def test_a_sample_above_a_limit_is_the_cause_of_the_end() -> None:
    """A program is told to be above its limit once, and a sample at the limit is not above it."""
    enforced = enforcement(_ALL, [])
    memory = ProgramLimits(_ALL, enforced, None)
    assert not memory.exceeded(Sample(400.0, 256 << 20, 1, 40))
    assert memory.cause() == ""
    assert memory.exceeded(Sample(0.0, 300 << 20, 1, 1))
    assert not memory.exceeded(Sample(0.0, 400 << 20, 1, 1))
    assert memory.cause() == "it used 300 MiB of memory, and its limit is 256 MiB"
    tasks = ProgramLimits(_ALL, enforced, None)
    assert tasks.exceeded(Sample(0.0, 0, 2, 41))
    assert tasks.cause() == "it had 41 tasks, and its limit is 40"
    tasks.close()


def test_the_kernel_tells_by_which_limit_a_program_ended(tmp_path: Path) -> None:
    """A kill for memory is told with the limit, before tasks that were refused; samples are not compared."""
    limits = ProgramLimits(_ALL, enforcement(_ALL, ["cpu", "memory", "pids"]), ControlGroup(tmp_path, tmp_path))
    assert not limits.exceeded(Sample(0.0, 1 << 40, 1, 100))
    assert limits.cause() == ""
    (tmp_path / "pids.events").write_text("max 1\n")
    assert limits.cause() == "it could start no more tasks: its limit is 40"
    (tmp_path / "memory.events").write_text("oom_kill 1\n")
    assert limits.cause() == "OOM killed: it used more memory than its limit of 256 MiB"
    limits.close()


@pytest.mark.parametrize(
    ("value", "shown"), [(1 << 20, "1 MiB"), (1536 << 10, "1.5 MiB"), (2 << 30, "2 GiB"), (3 << 29, "1.5 GiB")]
)
def test_sizes_are_shown_as_limits_are_written(value: int, shown: str) -> None:
    """Limits are given in units of 1024, and so are sizes compared with them."""
    assert size(value) == shown
