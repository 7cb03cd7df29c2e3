"""The service of the feature `commands` across restarts."""

from __future__ import annotations

from pathlib import Path

from tests.commands.features import RecordingSink, feature, read_output


async def test_jobs_and_their_output_survive_a_restart(database_url: str, tmp_path: Path) -> None:
    """A later run of the service finds the record and every byte of the output."""
    async with feature(database_url, tmp_path) as commands:
        reply = await commands.call("exec", "seq 100000; exit 4")
    async with feature(database_url, tmp_path) as again:
        job = await again.service.jobs.get(reply.number)
        assert (job.state, job.exit_code, job.kept_from) == ("exited", 4, 0)
        assert (await read_output(again, reply.number))[1] == reply.data
        later = RecordingSink()
        outcome = await again.service.output.follow(reply.number, 10, later)
        assert (later.data, outcome.exit_code) == (reply.data[10:], 4)
