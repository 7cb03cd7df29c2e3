"""The changes of a turret, as the headquarters sees it, by the statuses that it sends. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from smartmob.turrets.model import Absence, Member
from smartmob.turrets.protocol import Report, Status, printable


def has_lower_counts(before: Report | None, report: object) -> bool:
    """Return whether a report of the same run has lower counts than the one before, as of another turret."""
    if before is None or not isinstance(report, Report) or report.run is None or report.run != before.run:
        return False
    return report.transactions < before.transactions or report.sequence < before.sequence


def changed(member: Member, **changes: Any) -> Member:
    """Return `member` with changes."""
    return msgspec.structs.replace(member, **changes)


def new_member(status: Status, wall: datetime) -> Member:
    """Return the turret that sent its first status at `wall`."""
    return Member(
        uuid=status.identity,
        name=printable(status.turret or status.identity),
        script=status.script or "",
        cannons=status.users,
        rampup=status.rampup,
        status=printable(status.status),
        status_at=wall,
        first_seen=wall,
        ours=isinstance(status.smartmob, Report),
    )


def updated_member(member: Member, status: Status, run: str | None, wall: datetime) -> Member:
    """Return a turret with the values of a status that came at `wall`."""
    changes: dict[str, Any] = {"status": printable(status.status), "status_at": wall, "alive": True}
    if not member.alive and member.lost:
        changes["lost"] = [*member.lost[:-1], Absence(member.lost[-1].since, wall)]
    sent = {
        "name": printable(status.turret) or None,
        "script": status.script or None,
        "cannons": status.users,
        "rampup": status.rampup,
    }
    for key, value in sent.items():
        known = getattr(member, key)
        if value is None or value == known:
            continue  # a status may leave each of them out
        changes[key] = value
        if known not in (None, "", member.uuid):
            # A turret never changes these: so two turrets use the same uuid.
            changes["twice"] = True
    if isinstance(status.smartmob, Report):
        if member.report is not None and member.report.host != status.smartmob.host:
            changes["twice"] = True
        changes |= _report_changes(member, status.smartmob, run)
    return changed(member, **changes)


def _report_changes(member: Member, report: Report, run: str | None) -> Mapping[str, Any]:
    """Return the fields of a turret that its report changes."""
    changes: dict[str, Any] = {"ours": True, "report": report}
    if run is not None and report.run == run:
        if report.final:
            changes["expected"] = report.sequence
        if report.health is not None:
            changes["busiest"] = max(member.busiest, report.health.busiest)
            changes["lag"] = max(member.lag, report.health.lag)
    return changes
