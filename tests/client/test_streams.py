"""Pipes and devices as sources and targets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from smartmob.client import streams


def test_only_pipes_and_sockets_are_streams(tmp_path: Path) -> None:
    """Files, folders and missing names are no streams; a socket and a fifo without a reader are refused."""
    (tmp_path / "file").write_text("x")
    assert streams.open_source(str(tmp_path / "file")) is None
    for name in ("file", "missing", "."):
        assert streams.open_target(str(tmp_path / name)) is None
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="no program reads"):
        streams.open_target(str(tmp_path / "fifo"))
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        for opening in (streams.open_source, streams.open_target):
            with pytest.raises(OSError, match="socket"):
                opening(str(tmp_path / "socket"))


async def test_a_closed_pipe_is_an_error() -> None:
    """As for any program that writes to it."""
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        await streams.write_all(writing, b"x" * 100_000)
    os.close(writing)
