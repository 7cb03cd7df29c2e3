"""Limits of memory, processor time and tasks for programs, by control groups of version 2 (cgroups(7)).

The kernel manages control groups as folders. A process may make folders below its own group only where the system has
delegated that group to it: systemd marks such a group (`Delegate=`, extended attribute `user.delegate`), and in a
container the visible root is its own group, if it can be written. A group that passes limits on to groups below it must
have no processes itself, so the processes of the service move to a group `service`; each program with limits gets its
own group, named `program-N`.
"""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path

import msgspec

AUTO, OFF = "auto", "off"
CONTROLLERS = ("cpu", "memory", "pids")
"""The controllers that limits need."""

_SERVICE, _PROGRAM = "service", "program-"
_PROCS = "cgroup.procs"
_ATTRIBUTES = ("user.delegate", "trusted.delegate")
_PERIOD_US = 100_000  # of the processor quota; the kernel's default
_MOVE_ROUNDS = 20  # processes that are forked while others move are moved in the next round
_ROOT, _MOUNT_POINT, _OPTIONAL = 3, 4, 6  # fields of /proc/PID/mountinfo, proc_pid_mountinfo(5)


class ControlGroup(msgspec.Struct, frozen=True):
    """The group of one program. `home` is the group to which the process that starts the program goes back."""

    folder: Path
    home: Path

    def events(self) -> dict[str, int]:
        """Return the counted events: `oom_kill` (processes killed for memory), and `tasks` (refused tasks)."""
        memory, pids = _counts(self.folder / "memory.events"), _counts(self.folder / "pids.events")
        return {"oom_kill": memory.get("oom_kill", 0), "tasks": pids.get("max", 0)}

    def remove(self) -> None:
        """Remove the group, which has no processes any more."""
        with suppress(OSError):  # a process that hangs in the kernel keeps it; the next `open` removes it
            self.folder.rmdir()


class _NotDelegatedError(Exception):
    """This process may not make groups."""


class ControlGroups:
    """The groups of the programs of one service.

    `wanted` is AUTO, OFF, or the folder of a delegated group without processes. After `open`, `controllers` are those
    that limit programs, and `reason` says why there are none. `proc` is the folder of the process file system.
    """

    def __init__(self, wanted: str = OFF, proc: Path = Path("/proc")) -> None:
        self.controllers: frozenset[str] = frozenset()
        self.reason = "control groups are switched off"
        self._wanted = wanted
        self._proc = proc
        self._base = self._home = Path()
        self._numbers = itertools.count(1)

    def open(self) -> None:
        """Find the delegated group, and prepare it. Blocks for a short time."""
        if self._wanted == OFF:
            return
        try:
            self._find()
            self._prepare()
        except _NotDelegatedError as error:
            self.reason = str(error)
        except OSError as error:
            self.reason = f"the control group {error.filename or self._base} cannot be used: {error.strerror}"

    def create(self, memory: int | None, cpu: float | None, tasks: int | None) -> ControlGroup | None:
        """Make the group of a program with these limits: bytes, processors, tasks; None where nothing can be limited.

        Raises OSError.
        """
        files: dict[str, str] = {}
        if memory is not None and "memory" in self.controllers:
            # Without swap, the limit covers all memory. The group is killed as a whole, not only one of its processes.
            files |= {"memory.max": str(memory), "memory.swap.max": "0", "memory.oom.group": "1"}
        if cpu is not None and "cpu" in self.controllers:
            files["cpu.max"] = f"{round(cpu * _PERIOD_US)} {_PERIOD_US}"
        if tasks is not None and "pids" in self.controllers:
            files["pids.max"] = str(tasks)
        if not files:
            return None
        folder = self._base / f"{_PROGRAM}{next(self._numbers)}"
        folder.mkdir()
        try:
            for name, text in files.items():
                if name != "memory.swap.max" or (folder / name).exists():  # a kernel without swap has no such file
                    (folder / name).write_text(text)
        except BaseException:
            folder.rmdir()
            raise
        return ControlGroup(folder, self._home)

    def _find(self) -> None:
        """Set the group of the service and the one below which groups are made."""
        own = self._own()
        if self._wanted != AUTO:
            self._base, self._home = Path(self._wanted), own
            return
        self._base = own.parent if own.name == _SERVICE else own  # an earlier service has moved
        self._home = self._base / _SERVICE
        if self._present() and not _is_delegated(self._base, visible_root=self._base == self._mount()[0]):
            raise _NotDelegatedError(
                f"the control group {self._base} is not delegated; in a systemd unit: Delegate=yes"
            )

    def _prepare(self) -> None:
        """Move the processes of the group, and pass the controllers on."""
        present = self._present()
        if not present:
            raise _NotDelegatedError(f"cgroup v2 has no controllers for memory, cpu and pids in {self._base}")
        if self._wanted == AUTO:
            self._move_processes()
        for old in self._base.glob(f"{_PROGRAM}*"):
            with suppress(OSError):  # another service below the same group uses it
                old.rmdir()
        taken = [int(old.name[len(_PROGRAM) :]) for old in self._base.glob(f"{_PROGRAM}*")]
        self._numbers = itertools.count(max(taken, default=0) + 1)
        for name in sorted(present):
            (self._base / "cgroup.subtree_control").write_text(f"+{name}")
        self.controllers, self.reason = present, ""

    def _present(self) -> frozenset[str]:
        """Return the controllers that the system has given to the group."""
        return frozenset((self._base / "cgroup.controllers").read_text().split()).intersection(CONTROLLERS)

    def _move_processes(self) -> None:
        self._home.mkdir(exist_ok=True)
        for _ in range(_MOVE_ROUNDS):
            pids = (self._base / _PROCS).read_text().split()
            if not pids:
                return
            for pid in pids:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    (self._home / _PROCS).write_text(pid)

    def _own(self) -> Path:
        """Return the folder of the group of this process."""
        lines = (self._proc / "self" / "cgroup").read_text().splitlines()
        path = next((line[len("0::") :] for line in lines if line.startswith("0::")), None)
        if path is None:
            raise _NotDelegatedError("this system has no cgroup v2")
        mount, root = self._mount()
        inner = path.removeprefix(root) if root != "/" else path
        return mount / inner.lstrip("/") if inner.strip("/") else mount

    def _mount(self) -> tuple[Path, str]:
        """Return where the hierarchy is mounted, and which group is the root of the mount."""
        for line in (self._proc / "self" / "mountinfo").read_text().splitlines():
            fields = line.split()
            if "-" in fields[_OPTIONAL:] and fields[fields.index("-", _OPTIONAL) + 1] == "cgroup2":
                return Path(fields[_MOUNT_POINT]), fields[_ROOT]
        raise _NotDelegatedError("cgroup v2 is not mounted")


def _is_delegated(folder: Path, *, visible_root: bool) -> bool:
    """Return whether this process may make groups in `folder`."""
    if not os.access(folder, os.W_OK):
        return False
    # The root of the machine has no such file; the visible root of a container is a group like others.
    if visible_root:
        return (folder / "cgroup.type").exists()
    for name in _ATTRIBUTES:
        with suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _counts(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {name: int(number) for name, _, number in (line.partition(" ") for line in lines)}
