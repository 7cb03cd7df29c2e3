"""The inputs and outputs of the state machine of a process."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from smartmob.processes import model


class StartRequested(msgspec.Struct, frozen=True):
    """A client or the service wants the process to run; `restart` ends a running program first."""

    restart: bool = False


class StopRequested(msgspec.Struct, frozen=True):
    """A client or the service wants the process not to run."""


class PreparationAdvanced(msgspec.Struct, frozen=True):
    """The preparation has reached `state`, one of the model's PREPARING."""

    state: str


class Prepared(msgspec.Struct, frozen=True):
    """The preparation has succeeded: the program can be spawned, once its dependencies are met if it `depends`.

    `restart`, unless None, replaces the restart policy.
    """

    restart: model.RestartPolicy | None = None
    depends: bool = False


class PreparationFailed(msgspec.Struct, frozen=True):
    """The preparation has failed: `state` is one of the model's FAILURES, or STOPPED when it was cancelled."""

    state: str
    detail: str = ""


class DependenciesMet(msgspec.Struct, frozen=True):
    """All dependencies of the process are met."""


class DependenciesMissing(msgspec.Struct, frozen=True):
    """Dependencies of the process are not met yet; `detail` names them, for people."""

    detail: str


class DependencyFailed(msgspec.Struct, frozen=True):
    """A dependency of the process will not be met without a change by a client."""

    detail: str


class LivenessFailed(msgspec.Struct, frozen=True):
    """The liveness check of the running program fails; `has_passed` is whether it has passed since the start."""

    detail: str
    has_passed: bool


class ProgramStarted(msgspec.Struct, frozen=True):
    """The program runs as the process `pid`."""

    pid: int


class StartFailed(msgspec.Struct, frozen=True):
    """The program could not be spawned."""

    detail: str


class Exited(msgspec.Struct, frozen=True):
    """The program has ended; its descendants may still run.

    `status` is the exit status, the negative number of a signal, or None when it is unknown. `hint` is a probable cause
    for people, or "". `left_behind` is whether it succeeded and its descendants go on running, as with a program that
    puts itself into the background.
    """

    status: int | None
    hint: str = ""
    left_behind: bool = False


class TreeGone(msgspec.Struct, frozen=True):
    """The program and all its descendants have ended."""


class TimerFired(msgspec.Struct, frozen=True):
    """The time of the timer `number` has come."""

    number: int


Event: TypeAlias = (
    StartRequested
    | StopRequested
    | PreparationAdvanced
    | Prepared
    | PreparationFailed
    | DependenciesMet
    | DependenciesMissing
    | DependencyFailed
    | ProgramStarted
    | LivenessFailed
    | StartFailed
    | Exited
    | TreeGone
    | TimerFired
)


class Prepare(msgspec.Struct, frozen=True):
    """Prepare the start. Answered by PreparationAdvanced, then Prepared or PreparationFailed."""


class CancelPreparation(msgspec.Struct, frozen=True):
    """Cancel the preparation. Answered by PreparationFailed(STOPPED), or by Prepared when it has just succeeded."""


class CheckDependencies(msgspec.Struct, frozen=True):
    """Check the dependencies now and after each change of another process, while the phase is WAITING.

    Answered by DependenciesMet, DependenciesMissing or DependencyFailed.
    """


class Spawn(msgspec.Struct, frozen=True):
    """Spawn the program. Answered by Started or StartFailed."""


class Terminate(msgspec.Struct, frozen=True):
    """Send SIGTERM to the program's process group, or to the rest of its tree when the program has ended."""


class Kill(msgspec.Struct, frozen=True):
    """Send SIGKILL to the whole tree. Answered by Exited, unless that came before, and TreeGone."""


class StartTimer(msgspec.Struct, frozen=True):
    """Replace the timer by one that fires at the time `at`. Answered by TimerFired(number)."""

    number: int
    at: float


class ReportEvent(msgspec.Struct, frozen=True):
    """Report a process event of this `kind` to the viewers, the log and the timeline."""

    kind: str
    text: str


class Complete(msgspec.Struct, frozen=True):
    """Record that the program has ended by itself and is no longer wanted."""


Action: TypeAlias = (
    Prepare | CancelPreparation | CheckDependencies | Spawn | Terminate | Kill | StartTimer | ReportEvent | Complete
)
