"""The grouping of sessions into runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec


class RunMember(msgspec.Struct, frozen=True):
    """A session with the fields that assign it to a run. `node` is the machine of its metrics, None without any."""

    session_h: str
    started_at: datetime
    run_tag: str | None
    run_key: str
    node: str | None


def group_runs(members: Iterable[RunMember], window: timedelta) -> list[list[RunMember]]:
    """Return the runs that sessions form, the oldest run first, each with its oldest session first.

    Sessions with the same tag `run` are one run. Others are one run if they have the same commit and tags, ran on the
    same machine, and each began within `window` of the one before. A session without metrics (the controller of
    pytest-xdist) joins the run of its commit and tags that is nearest in time and within `window`.
    """
    ordered = sorted(members, key=lambda member: (member.started_at, member.session_h))
    tagged: dict[str, list[RunMember]] = {}
    open_runs: dict[tuple[str, str], list[RunMember]] = {}
    runs: list[list[RunMember]] = []
    without_node = []
    for member in ordered:
        if member.run_tag is not None:
            if member.run_tag not in tagged:
                runs.append(tagged.setdefault(member.run_tag, []))
            tagged[member.run_tag].append(member)
        elif member.node is None:
            without_node.append(member)
        else:
            key = (member.run_key, member.node)
            if key not in open_runs or member.started_at - open_runs[key][-1].started_at > window:
                open_runs[key] = []
                runs.append(open_runs[key])
            open_runs[key].append(member)
    _assign_without_node(without_node, runs, window)
    for run in runs:
        run.sort(key=lambda member: (member.started_at, member.session_h))
    return sorted(runs, key=lambda run: (run[0].started_at, run[0].session_h))


def _assign_without_node(without_node: Sequence[RunMember], runs: list[list[RunMember]], window: timedelta) -> None:
    """Add the sessions without metrics to the nearest run of their commit and tags, or to a new one."""
    by_key: dict[str, list[list[RunMember]]] = {}
    for run in runs:
        if run[0].run_tag is None:
            by_key.setdefault(run[0].run_key, []).append(run)
    for member in without_node:
        candidates = by_key.setdefault(member.run_key, [])
        near = min(candidates, key=lambda run: _distance(member, run), default=None)
        if near is None or _distance(member, near) > window:
            near = []
            runs.append(near)
            candidates.append(near)
        near.append(member)


def _distance(member: RunMember, run: Sequence[RunMember]) -> timedelta:
    return min(abs(member.started_at - other.started_at) for other in run)


def run_id(run: Sequence[RunMember]) -> str:
    """Return the id of a run: its tag, or the hash of its first session."""
    return run[0].run_tag or run[0].session_h
