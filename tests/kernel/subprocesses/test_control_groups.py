"""Control groups: which one is used, what is written to its files, and what they tell.

The files of a test are ordinary ones: a machine with a delegated group is rare, and its kernel's part is not ours.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmob.kernel.subprocesses.child import SpawnFailed, Spec
from smartmob.kernel.subprocesses.control_groups import AUTO, CONTROLLERS, OFF, ControlGroup, ControlGroups
from tests.kernel.subprocesses.runs import Run


class Machine:
    """The files of a machine on which a service runs in the control group `path`."""

    def __init__(self, folder: Path, path: str, controllers: str = "cpuset cpu io memory pids") -> None:
        self.mount, self.proc = folder / "cgroup", folder / "proc"
        self.group = self.mount / path.strip("/") if path.strip("/") else self.mount
        base = self.group.parent if self.group.name == "service" else self.group
        self.group.mkdir(parents=True)
        for name, text in {"controllers": controllers, "subtree_control": "", "procs": "", "type": "domain"}.items():
            (base / f"cgroup.{name}").write_text(text)
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text(f"1:name=systemd:/x\n0::{path}\n")
        shown = f"30 23 0:26 / {self.mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
        (self.proc / "self" / "mountinfo").write_text(f"29 23 0:25 / /sys rw - sysfs sysfs rw\n{shown}")

    def opened(self, wanted: str = AUTO) -> ControlGroups:
        groups = ControlGroups(wanted, self.proc)
        groups.open()
        return groups


@pytest.mark.parametrize("path", ["/", "/service"])
def test_the_own_group_of_a_container_is_used(path: str, tmp_path: Path) -> None:
    """The service moves to a group of its own, also a second time, and programs get limits beside it."""
    machine = Machine(tmp_path, path)
    groups = machine.opened()
    assert (groups.controllers, groups.reason) == (frozenset(CONTROLLERS), "")
    assert (machine.mount / "cgroup.subtree_control").read_text() == "+pids"  # the last of three writes
    group = groups.create(memory=256 << 20, cpu=0.5, tasks=40)
    assert group == ControlGroup(machine.mount / "program-1", machine.mount / "service")
    written = {path.name: path.read_text() for path in group.folder.iterdir()}
    assert written == {
        "memory.max": "268435456",
        "memory.oom.group": "1",
        "cpu.max": "50000 100000",
        "pids.max": "40",
    }
    second = groups.create(memory=None, cpu=2, tasks=None)
    assert second is not None
    assert (second.folder / "cpu.max").read_text() == "200000 100000"
    assert groups.create(None, None, None) is None


def test_a_named_group_is_used_without_moving_the_service(tmp_path: Path) -> None:
    """Its leftovers are removed, and numbers go on above those that are in use."""
    machine = Machine(tmp_path, "/system.slice/x.service")
    (machine.group / "program-3").mkdir()
    (machine.group / "program-7").mkdir()
    (machine.group / "program-7" / "busy").touch()
    groups = machine.opened(str(machine.group))
    assert not (machine.group / "program-3").exists()
    group = groups.create(memory=1 << 30, cpu=None, tasks=None)
    assert group == ControlGroup(machine.group / "program-8", machine.group)


@pytest.mark.parametrize(
    ("path", "controllers", "wanted", "reason"),
    [
        ("/user.slice/session-1.scope", "cpu memory pids", AUTO, "is not delegated"),
        ("/", "hugetlb", AUTO, "no controllers for memory, cpu and pids"),
        ("/", "cpu memory pids", OFF, "switched off"),
        ("/", "cpu memory pids", "/no/such/group", "cannot be used: No such file"),
    ],
)
def test_a_group_that_is_not_delegated_is_left_alone(
    path: str, controllers: str, wanted: str, reason: str, tmp_path: Path
) -> None:
    """The reason says what is missing, nothing is written, and no group is made."""
    machine = Machine(tmp_path, path, controllers)
    groups = machine.opened(wanted)
    assert groups.controllers == frozenset()
    assert reason in groups.reason
    assert groups.create(1 << 30, 1.0, 10) is None
    assert (machine.group / "cgroup.subtree_control").read_text() == ""
    assert not (machine.group / "service").exists()


def test_a_system_without_version_2_says_so(tmp_path: Path) -> None:
    """Systems with control groups of version 1 only, and such without any, have no limits of this kind."""
    machine = Machine(tmp_path, "/")
    (machine.proc / "self" / "mountinfo").write_text("")
    assert machine.opened().reason == "cgroup v2 is not mounted"
    (machine.proc / "self" / "cgroup").write_text("4:memory:/\n")
    assert machine.opened().reason == "this system has no cgroup v2"
    (machine.proc / "self" / "cgroup").unlink()
    assert "cannot be used: No such file" in machine.opened().reason


def test_events_tell_what_the_kernel_did(tmp_path: Path) -> None:
    """The kills for memory and the refused tasks are counted; files that do not exist count nothing."""
    group = ControlGroup(tmp_path, tmp_path)
    assert group.events() == {"oom_kill": 0, "tasks": 0}
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n")
    (tmp_path / "pids.events").write_text("max 2\n")
    assert group.events() == {"oom_kill": 3, "tasks": 2}


async def test_a_program_is_started_from_inside_its_group(run: Run, tmp_path: Path) -> None:
    """The process that starts it enters the group before and leaves it after; a group that is gone is told."""
    home, folder = tmp_path / "home", tmp_path / "program-1"
    home.mkdir()
    folder.mkdir()
    null = os.open(os.devnull, os.O_RDWR)

    def spec(group: ControlGroup) -> Spec:
        return Spec(("true",), {"PATH": os.environ["PATH"]}, tmp_path, null, null, null, group=group)

    try:
        child = await run.spawner.spawn(spec(ControlGroup(folder, home)))
        await child.gone()
        assert [(each / "cgroup.procs").read_text() for each in (folder, home)] == ["0", "0"]
        with pytest.raises(SpawnFailed, match=r"^cannot enter the control group of the program: No such file"):
            await run.spawner.spawn(spec(ControlGroup(tmp_path / "gone", home)))
    finally:
        os.close(null)
