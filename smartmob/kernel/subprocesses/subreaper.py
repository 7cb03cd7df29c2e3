"""A keeper: the process that is above some of the children, starts them, and ends each with all of its descendants.

It is forked by the guardian and is a sub-reaper, so every descendant of its children that loses its parent falls to it;
whose that one was, its brand tells. The service holds one end of a control socket for each child, and the end of
file on it is the order to kill that child's tree. The death of the guardian is the order to kill all. After the end of
file on its own socket the keeper ends as soon as it has no child left.

Words on the sockets, in ASCII. On the keeper's own, from the service: `S` with the file descriptors of control, stdin,
stdout and stderr (SCM_RIGHTS). On a control socket, from the service: first the specification (4 bytes length, big
endian; then fields that end with NUL: folder, path of a terminal or nothing, number of arguments, the arguments, the
environment as NAME=value); then lines: `signal N`, `kill`. To the service: lines `started PID KEEPER`, `failed ERRNO
folder|program`, `exited STATUS USER SYSTEM MAXRSS` (STATUS as in subprocess, seconds, kilobytes), `gone`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import socket
import sys
from functools import partial

from smartmob.kernel.subprocesses import process_tag, process_tree

LARGEST = 8 * 1024 * 1024
"""The most bytes of a specification; the kernel takes no more than 6 MiB of arguments and environment."""

_FDS = 4
_LONGEST_ORDER = 1024
_READ_BYTES = 64 * 1024
_REAPED_AT_ONCE = 256
_FIRST_PAUSE, _LONGEST_PAUSE = 20, 640
"""Milliseconds until what was killed and has not ended is killed again."""

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_CATCHABLE = tuple(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def keep(service: int, guardian: int, branding: process_tag.ProcessTags) -> None:
    """Be a keeper that is ordered by the socket `service`, leave nothing behind, and do not return."""
    try:
        os.setsid()
        process_tree.become_reaper(process_tree.KEEPER)
        keeper = _SubreaperProcess(socket.socket(fileno=service), guardian, process_tree.Wakeup(), branding)
        process_tree.die_with_parent()
        # What was there before the fork is frozen; what comes now may need collecting.
        gc.enable()
        keeper.run()
        keeper.end()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


class _Kept:
    """One child, of which `control` is the socket. `pid` is 0 until it is started."""

    __slots__ = ("alive", "brand", "control", "ending", "fds", "pid", "received", "report")

    def __init__(self, control: int, fds: list[int]) -> None:
        self.control = control
        self.fds = fds
        self.pid = 0
        self.brand = 0
        self.alive = False
        self.ending = False
        self.received = bytearray()
        self.report = ""

    def tell(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self.control, text.encode())

    def close(self) -> None:
        """Close what was for the child, and the socket."""
        self.hand_over()
        os.close(self.control)

    def hand_over(self) -> None:
        """Close what the child has got."""
        while self.fds:
            os.close(self.fds.pop())


class _SubreaperProcess:
    """The keeper of some children."""

    def __init__(
        self, service: socket.socket, guardian: int, wakeup: process_tree.Wakeup, branding: process_tag.ProcessTags
    ) -> None:
        self._service = service
        self._guardian = guardian
        self._wakeup = wakeup
        self._brands = branding
        self._branding = branding.work()
        self._kept: dict[int, _Kept] = {}
        self._programs: dict[int, _Kept] = {}
        self._owners: dict[int, _Kept | None] = {}
        self._dismissed = False
        self._pause = _FIRST_PAUSE
        self._poll = select.poll()
        self._poll.register(service, select.POLLIN)
        self._poll.register(wakeup, select.POLLIN)

    def run(self) -> None:
        """Return when all have to end, or there are none and will be none."""
        reaped_all = True
        # The guardian's death is told by SIGTERM, which comes too late for one that dies before it was asked for, and
        # can be lost among as many SIGCHLD as a pipe holds bytes.
        while os.getppid() == self._guardian:
            ready = {found for found, _ in self._poll.poll(self._patience() if reaped_all else 0)}
            if self._wakeup.fileno() in ready:
                self._pause = _FIRST_PAUSE
                if process_tree.SIGTERM in self._wakeup.drain():
                    return
            for fd in ready.intersection(self._kept):
                self._hear(self._kept[fd])
            if self._service.fileno() in ready and not self._accept():
                # Of a service that is gone the ends of the control sockets tell, too.
                self._poll.unregister(self._service)
                self._dismissed = True
            reaped_all = self._reap()
            self._settle()
            if self._dismissed and not self._kept:
                return

    def end(self) -> None:
        """Kill all, and report it."""
        for ended in process_tree.kill_all(self._wakeup):
            self._ended(*ended)
        for kept in self._kept.values():
            if kept.pid:  # of one that is not started yet the end of file tells
                kept.tell(f"{kept.report}gone\n")

    def _patience(self) -> int | None:
        if not any(kept.ending for kept in self._kept.values()):
            return None
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause

    def _accept(self) -> bool:
        """Take a child that the service wants; return whether there is a service."""
        word, fds = receive(self._service, _FDS)
        if len(fds) == _FDS:
            kept = _Kept(fds[0], fds[1:])
            os.set_blocking(kept.control, False)
            self._kept[kept.control] = kept
            self._poll.register(kept.control, select.POLLIN)
            self._hear(kept)  # what it is has mostly been written before it was announced
        else:
            for fd in fds:
                os.close(fd)
        return word != b""

    def _hear(self, kept: _Kept) -> None:
        try:
            data = os.read(kept.control, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(kept.control)
            kept.ending = True
            return
        kept.received += data
        try:
            self._follow(kept)
        except Exception as error:
            # What cannot be understood or done costs its sender only: others are kept here, too.
            sys.excepthook(type(error), error, None)
            kept.received.clear()
            if not kept.pid:
                self._refuse(kept, errno.EINVAL)

    def _follow(self, kept: _Kept) -> None:
        """Start the child, or carry out what its service orders; may raise anything for what is no order."""
        if kept.pid or self._start(kept):
            *orders, kept.received = kept.received.split(b"\n")
            if len(kept.received) > _LONGEST_ORDER:
                kept.received.clear()
            for order in orders:
                with contextlib.suppress(ValueError, OverflowError, OSError):
                    self._obey(kept, bytes(order))

    def _refuse(self, kept: _Kept, number: int, what: str = "program") -> None:
        """Tell that the child cannot be started, and why."""
        kept.tell(f"failed {number} {what}\n")
        self._forget(kept)

    def _start(self, kept: _Kept) -> bool:
        """Start the child when all of its specification is there; return whether it runs."""
        size = 4 + int.from_bytes(kept.received[:4], "big")
        if size > LARGEST + 4:
            self._refuse(kept, errno.E2BIG)
            return False
        if len(kept.received) < max(size, 5):
            return False
        data, kept.received = bytes(kept.received[4:size]), kept.received[size:]
        folder, terminal, count, *rest = data.split(b"\0")[:-1]
        argv, variables = rest[: int(count)], rest[int(count) :]
        kept.brand = process_tag.free(other.brand for other in self._kept.values())
        try:
            os.chdir(folder)
            with contextlib.suppress(OSError, ValueError):
                self._brands.wear(kept.brand)
            kept.pid = _spawn(argv, dict(variable.split(b"=", 1) for variable in variables), terminal, kept.fds)
        except OSError as error:
            where = "folder" if error.filename == folder else "program"
            self._refuse(kept, error.errno or errno.EINVAL, where)
            return False
        finally:
            os.chdir("/")
        kept.alive = True
        self._programs[kept.pid] = kept
        kept.tell(f"started {kept.pid} {os.getpid()}\n")
        kept.hand_over()
        return True

    def _obey(self, kept: _Kept, order: bytes) -> None:
        """Carry out a line of the service."""
        if order == b"kill":
            kept.ending = True
        elif order.startswith(b"signal "):
            number = int(order[7:])
            if kept.alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(kept.pid, number)
            else:
                for root in self._roots(kept):
                    for pid in (root, *process_tree.descendants(root)):
                        process_tree.send(pid, number)

    def _reap(self) -> bool:
        """Take note of ended children; return whether of all, which a program that forks on and on could prevent."""
        for _ in range(_REAPED_AT_ONCE):
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return True
            self._ended(pid, status, usage)
        return False

    def _ended(self, pid: int, status: int, usage: resource.struct_rusage) -> None:
        """Take note of an ended child of this process: a program, or an orphan."""
        self._owners.pop(pid, None)
        kept = self._programs.pop(pid, None)
        if kept is not None:
            kept.alive = False
            code = os.waitstatus_to_exitcode(status)
            kept.report = f"exited {code} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss}\n"

    def _settle(self) -> None:
        """Report what has ended, and kill what has to end and has not."""
        for kept in [kept for kept in self._kept.values() if kept.ending or (kept.pid and not kept.alive)]:
            if not self._roots(kept):
                kept.tell(f"{kept.report}gone\n")
                self._forget(kept)
                continue
            if kept.report:
                kept.tell(kept.report)
                kept.report = ""
            if kept.ending:
                process_tree.kill(partial(self._roots, kept))

    def _forget(self, kept: _Kept) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(kept.control)
        del self._kept[kept.control]
        kept.close()

    def _roots(self, kept: _Kept) -> list[int]:
        """Return our children that are all that is left of `kept`, or have it below them: it and its orphans."""
        orphans = [pid for pid in process_tree.children(os.getpid()) if pid not in self._programs]
        found = [pid for pid in orphans if self._owner(pid) is kept]
        return [kept.pid, *found] if kept.alive else found

    def _owner(self, orphan: int) -> _Kept | None:
        """Return whose child an orphan is; none when it has neither brand nor session of any that we keep."""
        if not self._branding:
            return next(iter(self._kept.values()), None)  # there is one at the most
        if orphan not in self._owners:
            brand, session = self._brands.of(orphan), process_tree.session(orphan)
            named = (kept for kept in self._kept.values() if kept.pid and brand == kept.brand)
            related = (kept for kept in self._kept.values() if kept.pid and session == kept.pid)
            self._owners[orphan] = next(named, None) or next(related, None)
        return self._owners[orphan]


def receive(connection: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """Return the next letter on the socket, nothing when there is nobody at its other end, and the descriptors with it.

    As socket.recv_fds, which ignores its flags in Python 3.11, so that whatever is started would inherit them.
    """
    try:
        word, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(most * 4), _CLOEXEC)
    except OSError:
        return b"", []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = range(0, len(data) - len(data) % 4, 4)
            return word, [int.from_bytes(data[at : at + 4], sys.byteorder) for at in whole]
    return word, []


def _spawn(argv: list[bytes], env: dict[bytes, bytes], terminal: bytes, fds: list[int]) -> int:
    """Start the child in a session of its own; return its pid, or raise OSError."""
    # A program without a slash is looked for in the child's own PATH.
    os.putenv("PATH", env.get(b"PATH", os.fsencode(os.defpath)))
    actions: list[tuple[int, int, int] | tuple[int, int, bytes, int, int]] = []
    if terminal:
        # The first terminal that the leader of a new session opens becomes its controlling terminal.
        actions = [(os.POSIX_SPAWN_OPEN, fd, terminal, os.O_RDWR, 0) for fd in range(3)]
    else:
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)]

    def start(arguments: list[bytes]) -> int:
        return os.posix_spawnp(
            arguments[0],
            arguments,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_CATCHABLE,
        )

    try:
        return start(argv)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A text without `#!` is a program of the shell, as shells themselves take it.
    return start([b"/bin/sh", *argv])
