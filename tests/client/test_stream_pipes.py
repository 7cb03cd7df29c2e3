"""Pipes as streams of a transfer."""

from __future__ import annotations

import os
from pathlib import Path

from smartmob.client import stream_pipes, streams


async def test_a_fifo_is_read_to_its_end(tmp_path: Path) -> None:
    """The reader waits for a writer, and ends with it."""
    os.mkfifo(tmp_path / "fifo")
    descriptor = streams.open_source(str(tmp_path / "fifo"))
    assert descriptor is not None
    writing = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.write(writing, b"content")
    os.close(writing)
    reader = stream_pipes.StreamPipeReader(descriptor)
    assert b"".join([part async for _, part in reader.parts()]) == b"content"
    os.close(descriptor)
