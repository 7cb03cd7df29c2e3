"""The inputs and outputs of the state machine of a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from smartmob.processes import model


@dataclass(frozen=True, slots=True)
class StartRequested:
    """A client or the service wants the process to run; `restart` ends a running program first."""

    restart: bool = False


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A client or the service wants the process not to run."""


@dataclass(frozen=True, slots=True)
class PreparationAdvanced:
    """The preparation has reached `state`, one of the model's PREPARING."""

    state: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """The preparation has succeeded: the program can be spawned, once its dependencies are met if it `depends`.

    `restart`, unless None, replaces the restart policy.
    """

    restart: model.RestartPolicy | None = None
    depends: bool = False


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """The preparation has failed: `state` is one of the model's FAILURES, or STOPPED when it was cancelled."""

    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DependenciesMet:
    """All dependencies of the process are met."""


@dataclass(frozen=True, slots=True)
class DependenciesMissing:
    """Dependencies of the process are not met yet; `detail` says which, for people."""

    detail: str


@dataclass(frozen=True, slots=True)
class DependencyFailed:
    """A dependency of the process will not be met without a change by a client."""

    detail: str


@dataclass(frozen=True, slots=True)
class LivenessFailed:
    """The liveness check of the running program fails; `has_passed` is whether it has passed since the start."""

    detail: str
    has_passed: bool


@dataclass(frozen=True, slots=True)
class Started:
    """The program runs as the process `pid`."""

    pid: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The program could not be spawned."""

    detail: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The program has ended; its descendants may still run.

    `status` is the exit status, the negative number of a signal, or None when it is unknown. `hint` is a probable cause
    for people, or "". `left_behind` is whether it succeeded and its descendants go on, as a program does that puts
    itself into the background.
    """

    status: int | None
    hint: str = ""
    left_behind: bool = False


@dataclass(frozen=True, slots=True)
class TreeGone:
    """The program and all its descendants have ended."""


@dataclass(frozen=True, slots=True)
class TimerFired:
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
    | Started
    | LivenessFailed
    | StartFailed
    | Exited
    | TreeGone
    | TimerFired
)


@dataclass(frozen=True, slots=True)
class Prepare:
    """Prepare the start. Answered by PreparationAdvanced, then Prepared or PreparationFailed."""


@dataclass(frozen=True, slots=True)
class CancelPreparation:
    """Cancel the preparation. Answered by PreparationFailed(STOPPED), or by Prepared when it has just succeeded."""


@dataclass(frozen=True, slots=True)
class CheckDependencies:
    """Check the dependencies now and after each change of another process, while the phase is WAITING.

    Answered by DependenciesMet, DependenciesMissing or DependencyFailed.
    """


@dataclass(frozen=True, slots=True)
class Spawn:
    """Spawn the program. Answered by Started or StartFailed."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM to the program's process group, or to the rest of its tree when the program has ended."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the whole tree. Answered by Exited, unless that came before, and TreeGone."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Replace the timer by one that fires at the time `at`. Answered by TimerFired(number)."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Report:
    """Report a process event of this `kind` to the viewers, the log and the timeline."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Complete:
    """Record that the program has ended by itself and is not wanted any more."""


Action: TypeAlias = (
    Prepare | CancelPreparation | CheckDependencies | Spawn | Terminate | Kill | StartTimer | Report | Complete
)
