"""The state of one turret as the headquarters sees it. No I/O."""

from __future__ import annotations

import msgspec

from smartmob.turrets.model import Member
from smartmob.turrets.protocol import FIRING, TERMINATED


class TrackedTurret(msgspec.Struct):
    """A turret as the headquarters sees it; its messages up to number `acknowledged` are stored."""

    member: Member
    first_heard_at: float  # monotonic, in seconds, like the next one
    last_heard_at: float
    acknowledged: int = 0
    duplicate_reports: int = 0

    @property
    def is_firing(self) -> bool:
        """Return whether its status is that of a turret that fires."""
        return condition_of(self.member.status) in FIRING

    @property
    def is_terminated(self) -> bool:
        """Return whether its status is that of a turret that has ended."""
        return condition_of(self.member.status) in TERMINATED

    @property
    def is_idle(self) -> bool:
        """Return whether it could begin to fire."""
        return self.member.alive and not self.is_firing and not self.is_terminated

    def has_sent_all(self, run: str) -> bool:
        """Return whether no further result of a run is expected from it."""
        if not self.member.alive or self.is_terminated:
            return True
        report = self.member.report
        if report is None or report.run != run:
            return not self.is_firing
        return report.final and self.acknowledged >= report.sequence


def condition_of(status: str) -> str:
    """Return a status in the spelling of the protocol; turrets of OCT write it with capitals."""
    return status.strip().lower()


def fires_without_run(turret: TrackedTurret) -> bool:
    """Return whether a turret fires, or reports a run, although the headquarters has none."""
    report = turret.member.report
    return turret.member.alive and (turret.is_firing or (report is not None and report.run is not None))
