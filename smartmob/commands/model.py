"""What the feature `commands` stores and says: jobs, and the descriptions of commands. No I/O.

Times are aware UTC, sizes and offsets are bytes, processor times seconds.
"""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Annotated, Any

import msgspec

GOOD, ERROR, BAD_PARAMETER = 0, 1, -1
"""Exit codes of the commands that run no program, as the stock server has them."""

RUNNING, EXITED, SIGNALED, FAILED, TIMED_OUT, LOST, STOPPED = (
    *("running", "exited", "signaled", "failed", "timed out", "lost", "stopped"),
)
"""States of a job: it runs; its program ended by itself; by a signal; could not be started; its time was up; the
service died under it; the service was stopped and took it along."""

JobId = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was started and goes on without its client.

    `exit_code` is the program's own, negative for a signal; None while it runs and where it is not known.
    `kept_from` is the first offset of the output that is still kept, `output_bytes` how much there was in all.
    """

    id: int
    command: str
    argv: list[str]
    cwd: str
    env_names: list[str]
    client: str
    state: str
    started_at: datetime
    ended_at: datetime | None = None
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    max_rss: int | None = None
    output_bytes: int = 0
    kept_from: int = 0

    @property
    def running(self) -> bool:
        """Return whether the job goes on."""
        return self.state == RUNNING

    @property
    def command_line(self) -> str:
        """Return the job's command as a person would type it."""
        return self.argv[0] if len(self.argv) == 1 else shlex.join(self.argv)


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a command, with the type of its value as a JSON schema."""

    name: str
    required: bool
    type: str
    schema: dict[str, Any]
    default: Any = None


class CommandDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A command: what it takes and what it is for. A background command is a job, which outlives its client."""

    name: str
    summary: str
    text: str
    background: bool
    parameters: list[Parameter]


class Terminal(msgspec.Struct, frozen=True):
    """The size of a pseudo-terminal, in characters."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 24
    columns: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 80


class Failure(msgspec.Struct, frozen=True):
    """An error as it travels: the name of the exception and its arguments, and the kind of problem it is."""

    type: str
    message: str
    args: list[Any] = []
    problem: str = "internal"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended. `end` is the length of a job's output, `state` the job's."""

    exit_code: int | None
    error: BaseException | None = None
    state: str | None = None
    end: int | None = None
