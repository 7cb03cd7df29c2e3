"""Finds the reports of one import that belong to one run, such as the many files of one build of Surefire or Gradle."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

LONGEST_GAP = timedelta(minutes=15)
"""The time between the end of a report and the start of the next one of the same run.

It covers the compilation and the untimed set-up between the modules of a build; nightly and hourly builds are further
apart.
"""

_NAME_DIGITS = 16  # of the hash of a session that names a run


class ReadReport(msgspec.Struct, frozen=True):
    """The data by which a report is assigned to a run; `tests` has a hash of each test."""

    session_h: str
    folder: str
    scm_ref: str
    started_at: datetime
    ended_at: datetime
    tests: frozenset[int]


class _Group(msgspec.Struct):
    ended_at: datetime
    members: list[ReadReport] = msgspec.field(default_factory=list)
    folders: set[str] = msgspec.field(default_factory=set)
    tests: set[int] = msgspec.field(default_factory=set)

    def takes(self, report: ReadReport) -> bool:
        is_near = report.started_at - self.ended_at <= LONGEST_GAP
        return is_near and self.tests.isdisjoint(report.tests)

    def add(self, report: ReadReport) -> None:
        self.members.append(report)
        self.folders.add(report.folder)
        self.tests |= report.tests
        self.ended_at = max(self.ended_at, report.ended_at)


def groups(reports: Iterable[ReadReport]) -> list[list[ReadReport]]:
    """Return the reports by run, in the order of their starts.

    Reports are one run if they have the same commit, each begins at most `LONGEST_GAP` after the end of those before,
    and no test is in two of them: a test in two of them was executed by two builds, or on two platforms. If two runs
    were executed at the same time, a report joins the one that has reports from its folder.
    """
    found: dict[str, list[_Group]] = {}
    for report in sorted(reports, key=lambda report: (report.started_at, report.session_h)):
        own = found.setdefault(report.scm_ref, [])
        fitting = [group for group in own if group.takes(report)]
        group = max(fitting, key=lambda group: (report.folder in group.folders, group.ended_at), default=None)
        if group is None:
            own.append(group := _Group(report.ended_at))
        group.add(report)
    return [group.members for groups_ in found.values() for group in groups_]


def name(group: Iterable[ReadReport]) -> str:
    """Return the name of the run of a group, which is the same for the same reports: that of its first session."""
    return next(iter(group)).session_h[:_NAME_DIGITS]
