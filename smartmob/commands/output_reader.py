"""Reads the output of jobs, while they run and afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

from smartmob.commands.call import ReplySink
from smartmob.commands.job_queries import JobQueries
from smartmob.commands.model import STDOUT, Outcome
from smartmob.commands.running_job import RunningJob
from smartmob.commands.spool import Spool, Spools
from smartmob.commands.supervisor import JobSupervisor
from smartmob.errors import Conflict

CHUNK_BYTES = 256 * 1024
"""The most output that is read at a time."""


class OutputReader:
    """The output of all jobs. A reader is described by the offset of its next byte."""

    def __init__(self, jobs: JobQueries, supervisor: JobSupervisor, spools: Spools) -> None:
        self._jobs = jobs
        self._supervisor = supervisor
        self._spools = spools

    async def read(
        self, job_id: int, offset: int | None, *, follow: bool, stream: int | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """Return the offset of the first kept byte at or after `offset`, and the output from there.

        With `follow` the output goes on until the job ends. `stream` is the only stream that is returned. Raises
        NotFound, and Conflict if a job did not keep its streams separate.
        """
        if stream is not None and not (await self._jobs.get(job_id)).apart:
            raise Conflict(
                f"job {job_id} wrote standard output and standard error as one stream; its command was called without "
                "`apart`"
            )
        running = self._supervisor.find(job_id)
        if running is None and not self._spools.has(job_id):
            job = await self._jobs.get(job_id)
            return job.output_bytes, self._chunks(job_id, None, 0, 0, stream)
        spool = running.spool if running is not None else self._spools.find(job_id)
        first = min(max(offset or 0, spool.start), spool.end)
        if running is not None and follow:
            return first, self._chunks(job_id, running, first, None, stream)
        return first, self._chunks(job_id, None, first, spool.end, stream)

    async def _chunks(
        self, job_id: int, running: RunningJob | None, offset: int, end: int | None, wanted: int | None
    ) -> AsyncIterator[bytes]:
        while end is None or offset < end:
            spool = running.spool if running is not None else self._spools.find(job_id)
            offset = max(offset, spool.start)
            data, stream = _piece(spool, offset, apart=wanted is not None) if offset < spool.end else (b"", STDOUT)
            if data:
                offset += len(data)
                if wanted in (None, stream):
                    yield data
            elif running is None or running.outcome is not None:
                return
            else:
                await running.wait_for_output(offset)

    async def follow(
        self, job_id: int, offset: int, sink: ReplySink, *, hold: bool = False, apart: bool = False
    ) -> Outcome:
        """Send the output of a job to `sink` from `offset` on until the job ends; return its outcome. Raises NotFound.

        With `hold` the job waits for this reader before output is dropped that it has not received. With `apart` the
        streams are sent separately, if the job keeps them so.
        """
        running = self._supervisor.find(job_id)
        if running is not None:
            return await self.follow_running(running, offset, sink, hold=hold, apart=apart)
        job = await self._jobs.get(job_id)
        spool = self._spools.find(job_id) if self._spools.has(job_id) else None
        if offset < job.kept_from:
            sink.report_gap(offset, job.kept_from)
            offset = job.kept_from
        while spool is not None and offset < spool.end:
            offset = await _send_chunk(spool, offset, sink, apart=apart)
        error = None if job.error is None else RuntimeError(job.error)
        return Outcome(exit_code=job.exit_code, state=job.state, end=job.output_bytes, error=error, signal=job.signal)

    async def follow_running(
        self, job: RunningJob, offset: int, sink: ReplySink, *, hold: bool, apart: bool
    ) -> Outcome:
        """Send the output of a running job to `sink` from `offset` on until the job ends; return its outcome."""
        spool = job.spool
        try:
            while True:
                if offset < spool.start:
                    sink.report_gap(offset, spool.start)
                    offset = spool.start
                if hold:
                    job.hold(sink, offset)
                if offset < spool.end:
                    offset = await _send_chunk(spool, offset, sink, apart=apart)
                elif job.outcome is not None:
                    return job.outcome
                else:
                    await job.wait_for_output(offset)
        finally:
            job.release(sink)


async def _send_chunk(spool: Spool, offset: int, sink: ReplySink, *, apart: bool) -> int:
    """Send the next chunk of output from `offset` on, and return the offset after it."""
    data, stream = _piece(spool, offset, apart=apart)
    await sink.send_output(offset, data, stream)
    return offset + len(data)


def _piece(spool: Spool, offset: int, *, apart: bool) -> tuple[bytes, int]:
    """Return the next output from `offset` on, and its stream; with `apart` all of it is of that stream."""
    if not apart:
        return spool.read(offset, CHUNK_BYTES), STDOUT
    stream, end = spool.stream_at(offset)
    return spool.read(offset, min(CHUNK_BYTES, end - offset)), stream
