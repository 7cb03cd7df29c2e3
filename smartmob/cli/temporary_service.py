"""A service in a temporary folder, which ends with the command that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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

    Raises:
        StartupError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix=f"smartmob-{name}-", ignore_cleanup_errors=True) as temporary:
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
                with _killed_by_interrupt(process):
                    process.terminate()
                    try:
                        process.wait(_STOP_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                    if reader.ident is not None:
                        reader.join()


@contextmanager
def _killed_by_interrupt(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let CTRL-C kill the service until the end of the block, instead of interrupting the command that stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: process.kill())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
