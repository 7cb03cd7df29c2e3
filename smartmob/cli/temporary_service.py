"""A service in a temporary folder, which ends with the command that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec
import orjson

from smartmob.errors import StartupError
from smartmob.kernel.subprocesses import process_tree

_STOP_SECONDS = 30
_START = "from smartmob.cli.temporary_service import serve_for_parent; serve_for_parent()"


class Trial(msgspec.Struct, frozen=True):
    """The address of the service, its process, and its folder, which is removed at the end."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path


@contextmanager
def trial(name: str, *options: str) -> Iterator[Trial]:
    """Run a service with its own database until the end of the block; `options` are further words of `serve`.

    In the main thread SIGTERM and SIGHUP interrupt the block like CTRL-C, so that nothing is left behind.

    Raises:
        StartupError: it did not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix=f"smartmob-{name}-", ignore_cleanup_errors=True) as temporary,
        _handled_by(_interrupt_once()),
    ):
        folder = Path(temporary)
        # The database of a service that runs as root belongs to another user, who must get through here.
        folder.chmod(0o711)
        words = ("serve", "--port", "0", "--data-dir", str(folder / "data"), "--log-format", "json", *options)
        # In a group of its own: CTRL-C is for the command, which stops the service when it has ended.
        with subprocess.Popen(
            [sys.executable, "-c", _START, str(os.getpid()), *words], stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None
            # The log must be read on: a full pipe would stop the service.
            reader = threading.Thread(target=process.stdout.read, daemon=True)
            try:
                url = _address(process.stdout)
                reader.start()
                yield Trial(url, process, folder)
            finally:
                with _handled_by(lambda *_: process.kill()):  # the command that stops it is not interrupted
                    process.terminate()
                    try:
                        process.wait(_STOP_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                    if reader.ident is not None:
                        reader.join()


def _interrupt_once() -> Callable[[int, FrameType | None], None]:
    """Return a handler that raises KeyboardInterrupt for its first signal and ignores further ones.

    `make` sends SIGTERM on to its commands, which then get it twice. A second KeyboardInterrupt can come between the
    acquisition of a lock of `subprocess` and the block that releases it, and the process then waits without an end.
    """
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    return interrupt


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let CTRL-C, SIGTERM and SIGHUP call a function until the end of the block, unless they are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: found for number, found in signals.items() if found != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def serve_for_parent() -> None:
    """Run the command in the arguments, after the id of the parent; it gets SIGTERM when the parent ends."""
    from smartmob.cli.main import main

    parent = int(sys.argv.pop(1))
    sys.argv[0] = "smartmob"
    if sys.platform == "linux":
        process_tree.die_with_parent()
        if os.getppid() != parent:
            return  # it ended before the signal was set
    main()


def _address(log: IO[bytes]) -> str:
    """Return the address of the service, from the event of its log that it listens."""
    for line in log:
        event = orjson.loads(line)
        if event["event"] == "bind":
            return f"http://{event['host']}:{event['port']}"
    raise StartupError("the service did not start; its messages are above")
