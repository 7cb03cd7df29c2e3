"""The output of jobs on disk, addressed by byte offsets.

A job's output is a row of segments: files that are named by the job and the offset of their first byte. So the oldest
output can be removed while new output is appended, and offsets never change. The size is bounded for each job and for
all jobs together; the output of the jobs that ended first is removed first.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path

from smartmob.commands.model import STDOUT
from smartmob.commands.stream_index import StreamIndex
from smartmob.errors import NotFound
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.disk import DiskLow, Floor

log = get_logger()

SEGMENT_BYTES = 8 * 1024 * 1024
"""The most bytes of one file."""
_SEGMENT_NAME = re.compile(r"(\d+)\.([0-9a-f]{16})")
_INDEX_SUFFIX = ".streams"
"""The end of the name of a file that records which bytes of the segment came from standard error."""


class Spool:
    """The output of one job. The bytes from offset `start` up to `end` are kept."""

    def __init__(self, folder: Path, job_id: int, segments: dict[int, int], end: int, segment_bytes: int) -> None:
        """Open the output in `folder`; `segments` has the size of the index of each segment by its first offset."""
        self.job_id = job_id
        self.end = end
        self._segment_bytes = segment_bytes
        self._folder = folder
        self._segments = list(segments)
        self._indexes = {first: StreamIndex(self._index_path(first), size) for first, size in segments.items()}
        self._writing: int | None = None
        self._reading: tuple[int, int] | None = None
        self._index_read = -1  # the first offset of the segment whose index was read last
        self._last = b""

    @property
    def start(self) -> int:
        """Return the first offset that is kept; `end` when nothing is."""
        return self._segments[0] if self._segments else self.end

    @property
    def size(self) -> int:
        """Return how many bytes of output are kept."""
        return self.end - self.start

    @property
    def disk_bytes(self) -> int:
        """Return how many bytes the files have, with those that tell the streams apart."""
        return self.size + sum(index.size for index in self._indexes.values())

    def append(self, data: bytes, stream: int = STDOUT) -> None:
        """Append `data` of a stream, or raise OSError and append nothing."""
        if self._writing is None or self.end - self._segments[-1] >= self._segment_bytes:
            self._open_segment()
        index = self._indexes[self._segments[-1]]
        changes = bool(data) and index.begin(self.end, stream)
        try:
            self._write(data)
        except OSError:
            if changes:
                index.undo()
            raise
        if changes:
            index.keep(stream)
        self.end += len(data)
        self._last = data

    def _write(self, data: bytes) -> None:
        assert self._writing is not None
        position = self.end - self._segments[-1]
        rest = memoryview(data)
        while rest:
            # At a position, so that a repeated attempt overwrites the bytes that a failed one has left.
            written = os.pwrite(self._writing, rest, position)
            rest, position = rest[written:], position + written

    def stream_at(self, offset: int) -> tuple[int, int]:
        """Return the stream of the byte at `offset`, which must be kept, and an offset up to which it goes on."""
        first, following = self._segment(offset)
        if self._index_read not in (first, self._segments[-1]) and (read := self._indexes.get(self._index_read)):
            read.close()
        self._index_read = first
        stream, change = self._indexes[first].at(offset)
        return stream, min(following, following if change is None else change)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; it must lie between `start` and `end`."""
        if offset == self.end - len(self._last) and len(self._last) <= size:
            return self._last
        first, following = self._segment(offset)
        if self._reading is None or self._reading[0] != first:
            self._stop_reading()
            self._reading = (first, os.open(self._path(first), os.O_RDONLY | os.O_CLOEXEC))
        return os.pread(self._reading[1], min(size, following - offset), offset - first)

    def drop_oldest(self) -> int:
        """Remove the oldest segment unless it is being written; return how many bytes it had."""
        if not self._segments or (self._writing is not None and len(self._segments) == 1):
            return 0
        before = self.disk_bytes
        first = self._segments.pop(0)
        self._indexes.pop(first).remove()
        if self._reading is not None and self._reading[0] == first:
            self._stop_reading()
        self._path(first).unlink(missing_ok=True)
        return before - self.disk_bytes

    def remove(self) -> int:
        """Remove the whole output; return how many bytes it had."""
        self.close()
        before = self.disk_bytes
        while self.drop_oldest():
            pass
        return before

    def close(self) -> None:
        """Close the files. Reading opens them again."""
        self._stop_reading()
        for index in self._indexes.values():
            index.close()
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _segment(self, offset: int) -> tuple[int, int]:
        """Return the first offset of the segment that has `offset`, and the one after its end."""
        index = bisect_right(self._segments, offset) - 1
        following = self._segments[index + 1] if index + 1 < len(self._segments) else self.end
        return self._segments[index], following

    def _open_segment(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        opened = os.open(self._path(self.end), flags, 0o600)
        if self._writing is not None:
            os.close(self._writing)
        self._writing = opened
        if not self._segments or self._segments[-1] != self.end:
            if self._segments:
                self._indexes[self._segments[-1]].close()
            self._segments.append(self.end)
            self._indexes[self.end] = StreamIndex(self._index_path(self.end))

    def _stop_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def _path(self, first: int) -> Path:
        return self._folder / f"{self.job_id}.{first:016x}"

    def _index_path(self, first: int) -> Path:
        return self._folder / f"{self.job_id}.{first:016x}{_INDEX_SUFFIX}"


class Spools:
    """The spools of all jobs, within `job_limit` bytes for one and `total_limit` for all.

    At least `least_free` bytes of the disk stay free, apart from what is written between two checks. `total` is the
    size of all output that is kept.
    """

    def __init__(self, folder: Path, job_limit: int, total_limit: int, *, least_free: int = 0) -> None:
        self.total = 0
        self._folder = folder
        self._job_limit = job_limit
        # A quarter, so that a removed segment never holds bytes that a reader within half of the limit still needs.
        self._segment_bytes = min(SEGMENT_BYTES, job_limit // 4)
        self._total_limit = total_limit
        self._dropped: list[int] = []
        self._floor = Floor(folder, least_free)
        self._running: dict[int, Spool] = {}
        self._finished: OrderedDict[int, Spool] = OrderedDict()

    @property
    def most_ahead_bytes(self) -> int:
        """Return how many bytes a job may write ahead of a reader that must not miss any: half of a job's limit."""
        return self._job_limit // 2

    def open(self) -> None:
        """Find the output that earlier runs of the service have kept."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: dict[int, list[tuple[int, int, float]]] = {}
        index_sizes: dict[tuple[int, int], int] = {}
        for entry in os.scandir(self._folder):
            if match := _SEGMENT_NAME.fullmatch(entry.name.removesuffix(_INDEX_SUFFIX)):
                stat = entry.stat()
                if entry.name.endswith(_INDEX_SUFFIX):
                    index_sizes[int(match[1]), int(match[2], 16)] = stat.st_size
                    continue
                found.setdefault(int(match[1]), []).append((int(match[2], 16), stat.st_size, stat.st_mtime))
        last_touched = {job_id: max(mtime for _, _, mtime in segments) for job_id, segments in found.items()}
        for job_id in sorted(found, key=lambda job_id: (last_touched[job_id], job_id)):
            segments = sorted(found[job_id])
            end = segments[-1][0] + segments[-1][1]
            sizes = {first: index_sizes.pop((job_id, first), 0) for first, _, _ in segments}
            self._finished[job_id] = Spool(self._folder, job_id, sizes, end, self._segment_bytes)
            self.total += self._finished[job_id].disk_bytes
        for job_id, first in index_sizes:
            # Its output was removed just before the service was killed.
            (self._folder / f"{job_id}.{first:016x}{_INDEX_SUFFIX}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files."""
        for spool in (*self._running.values(), *self._finished.values()):
            spool.close()

    def create(self, job_id: int) -> Spool:
        """Return an empty spool for a new job."""
        spool = self._running[job_id] = Spool(self._folder, job_id, {}, 0, self._segment_bytes)
        return spool

    def append(self, spool: Spool, data: bytes, stream: int = STDOUT) -> None:
        """Append output of a stream, and remove the oldest output beyond the limits.

        Raises DiskLow when too little of the disk is free, OSError when it cannot be written.
        """
        self._ensure_free(len(data))
        before = spool.disk_bytes
        try:
            spool.append(data, stream)
        except OSError:
            # The disk may be full: remove the output of a finished job and try again.
            if not self._drop_finished():
                raise
            spool.append(data, stream)
        self.total += spool.disk_bytes - before
        while spool.size > self._job_limit and (dropped := spool.drop_oldest()):
            self.total -= dropped
        while self.total > self._total_limit:
            if not self._drop_finished():
                self.total -= (dropped := spool.drop_oldest())
                if not dropped:
                    break

    def _ensure_free(self, size: int) -> None:
        """Remove output of finished jobs until `size` bytes may be written; raises DiskLow when that is not enough."""
        while True:
            try:
                self._floor.take(size)
            except DiskLow:
                if not self._drop_finished():
                    raise
            else:
                return

    def finish(self, spool: Spool) -> None:
        """Close the spool of a job that has ended."""
        spool.close()
        del self._running[spool.job_id]
        self._finished[spool.job_id] = spool

    def find(self, job_id: int) -> Spool:
        """Return the spool of a job; raises NotFound when its output is no longer kept."""
        spool = self._running.get(job_id) or self._finished.get(job_id)
        if spool is None:
            raise NotFound(f"the output of job {job_id} is no longer kept")
        return spool

    def has(self, job_id: int) -> bool:
        """Return whether a job has a spool."""
        return job_id in self._running or job_id in self._finished

    def remove(self, job_id: int) -> None:
        """Remove the output of a finished job."""
        spool = self._finished.pop(job_id, None)
        if spool is not None:
            self.total -= spool.remove()

    def take_dropped(self) -> list[int]:
        """Return the ids of the finished jobs whose output was removed to make space, since the last call."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def _drop_finished(self) -> bool:
        """Remove the output of the job that ended first; return False when no finished job has output."""
        while self._finished:
            job_id, spool = self._finished.popitem(last=False)
            dropped = spool.remove()
            self.total -= dropped
            self._dropped.append(job_id)
            log.info("job.output_dropped", job=job_id)
            if dropped:
                return True
        return False
