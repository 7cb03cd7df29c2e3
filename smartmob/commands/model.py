"""The data types of the feature `commands`: jobs, and the descriptions of commands. No I/O.

Times are aware UTC, sizes and offsets are bytes, processor times are seconds.
"""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Annotated, Any

import msgspec

# Exit codes of commands that do not run a program: those of conplyent's server (seed 003).
SUCCESS = 0  # the command has done its work
ERROR = 1  # it raised an exception
BAD_PARAMETER = -1  # an argument is wrong, such as a path that does not exist

# States of a job.
RUNNING = "running"
EXITED = "exited"  # the program ended by itself
SIGNALED = "signaled"  # a signal ended the program
FAILED = "failed"  # the program could not be started, or the job was stopped because the disk is full
TIMED_OUT = "timed out"  # the time limit of the call had passed
LOST = "lost"  # the service was killed while the job ran
STOPPED = "stopped"  # the service was stopped and ended the job

# The streams of a program's output, with the numbers of their file descriptors (POSIX.1-2017, XBD 3.379 and 3.374).
STDOUT = 1  # the descriptor
STDERR = 2  # the descriptor

JobId = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was started and goes on without its client.

    `exit_code` is the program's own, negative for a signal; it is None while the job runs and if it is not known.
    `kept_from` is the first offset of the output that is still kept, `output_bytes` the length of the whole output.
    `apart` is whether the output has standard output and standard error separately.
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
    apart: bool = False

    @property
    def running(self) -> bool:
        """Return whether the job runs."""
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
    """The name, parameters and documentation of a command. A background command is a job and outlives its client."""

    name: str
    summary: str
    text: str
    background: bool
    parameters: list[Parameter]


class Terminal(msgspec.Struct, frozen=True):
    """The size of a pseudo-terminal, in characters."""

    rows: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 24
    columns: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 80


class ProgramSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source that is prepared before a program runs in it, as for a process of the application `app`.

    The fields are those of `POST /create-process`: `grace` is in seconds, `limits` has `memory`, `cpu` and `tasks`.
    """

    app: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    source_url: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
    grace: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None
    limits: dict[str, int | float] = {}


class Failure(msgspec.Struct, frozen=True):
    """An error as JSON: the class and the arguments of the exception, and the name of the HTTP problem it matches."""

    type: str
    message: str
    args: list[Any] = []
    problem: str = "internal"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a command. `state` and `end`, the length of the output in bytes, are set for jobs.

    `signal` is the signal that ended the program of a job, whose `exit_code` is then its negative.
    """

    exit_code: int | None
    error: BaseException | None = None
    state: str | None = None
    end: int | None = None
    signal: int | None = None

    @property
    def bad_parameter(self) -> bool:
        """Return whether the command refused a parameter; a program that SIGHUP ended has the same exit code."""
        return self.exit_code == BAD_PARAMETER and self.signal is None
