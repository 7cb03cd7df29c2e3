"""The programs and the running jobs of this machine, as they are reported to its service."""

from __future__ import annotations

from itertools import islice

from smartmob.commands.service import CommandsService
from smartmob.nodes.model import MAX_LINE, MOST_SHOWN, NodeActivity, NodeCommand, NodeProgram
from smartmob.processes.model import ProcessSnapshot
from smartmob.processes.service import ProcessesService


def activity(processes: ProcessesService, commands: CommandsService) -> NodeActivity:
    """Return the programs and the running jobs."""
    snapshots, jobs = processes.processes(), list(commands.supervisor)
    return NodeActivity(
        programs=[_program(snapshot) for snapshot in islice(snapshots, MOST_SHOWN)],
        jobs=[NodeCommand(id=job.record.id, line=_cut(job.record.command_line)) for job in islice(jobs, MOST_SHOWN)],
        programs_in_all=len(snapshots),
        jobs_in_all=len(jobs),
    )


def _program(snapshot: ProcessSnapshot) -> NodeProgram:
    return NodeProgram(
        slug=snapshot.definition.slug,
        state=snapshot.state,
        detail=_cut(snapshot.detail),
        pid=snapshot.pid,
        port=snapshot.port,
        restarts=snapshot.restarts,
        ready=None if snapshot.readiness is None else snapshot.ready,
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LINE else f"{text[: MAX_LINE - 1]}…"
