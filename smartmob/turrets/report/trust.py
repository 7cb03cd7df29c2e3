"""The verdict whether the statistics of a run can be trusted, with the reasons against it as texts. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from smartmob.turrets.model import (
    ALL_TRANSACTIONS,
    Counters,
    Doubt,
    ImportSource,
    MachineLoad,
    Member,
    TimerStats,
    Trust,
    TurretConfig,
)
from smartmob.turrets.report.evidence import RunEvidence, doubts, facts

BUSY, VERY_BUSY = 0.85, 0.97
"""Shares of one core: above the first, a turret's measurements may suffer; above the second, they do."""
LAG, LONG_LAG = 0.05, 0.5
"""Seconds of delay of a turret's event loop from which there is a warning, and from which the run is not trusted."""
LATE, VERY_LATE = 0.01, 0.05
"""Shares of late starts from which there is a warning, and from which the run is not trusted."""
CLOCK_OFFSET = 1.5
"""Seconds by which the clock of a turret must differ to be reported; turrets of OCT send whole seconds."""
LATE_JOIN = 0.5
"""Seconds after the start of the run from which a turret is reported as having joined late."""
_TERMINATED = ("aborted", "killed")
_MOST_NAMES = 10  # turrets that a doubt names
SATURATED_PERCENT = 90.0
"""Average use of a machine's processors above which its programs had to wait for a processor."""


MOST_FAILED = 0.5
"""Share of failures above which the latencies, which are those of successes, describe the smaller part."""


def judge(
    members: Sequence[Member],
    counters: Counters,
    transactions: int,
    reason: str | None,
    damaged: int,
    machines: Sequence[MachineLoad] = (),
    *,
    planned: Sequence[TurretConfig] = (),
    digests: Mapping[str, str] = MappingProxyType({}),
    timers: Mapping[str, TimerStats] | None = None,
    evidence: RunEvidence | None = None,
    source: ImportSource | None = None,
) -> Trust:
    """Return the verdict on a run; while it is active, only the doubts that its end cannot remove.

    `planned` are the turrets of its project, and `digests` the SHA-256 of its scripts. `source` is the
    origin of an import.
    """
    ended = evidence is None or evidence.ended
    found = [
        *_of_run(counters, transactions, reason, damaged, ended=ended),
        *_of_source(source, timers),
        *_of_project(members, planned, digests),
        *_of_restarts(counters.restarts, any(not member.ours for member in members)),
        *_of_turrets(members, ended=ended),
        *_of_machines(machines),
    ]
    if timers is None or evidence is None:
        return Trust(_verdict(found, ended), found)
    found += doubts(timers, evidence)
    return Trust(_verdict(found, ended), found, facts(timers, members, evidence))


def _verdict(found: Iterable[Doubt], ended: bool) -> Literal["yes", "with care", "no", "not yet"]:
    if not ended:
        return "not yet"
    levels = {doubt.level for doubt in found}
    return "no" if "bad" in levels else "with care" if levels else "yes"


def _of_project(
    members: Sequence[Member], planned: Sequence[TurretConfig], digests: Mapping[str, str]
) -> Iterator[Doubt]:
    """Yield the doubts about turrets that did not fire what the project specifies."""
    scripts = {turret.name: turret.script for turret in planned}
    if not scripts:
        return
    for member in members:
        turret = f"{member.name} ({member.uuid[:8]})"
        if member.name not in scripts:
            names = ", ".join(sorted(scripts)[:_MOST_NAMES])
            yield Doubt(
                "bad", f"{turret} is not a turret of this project, and fired its own script. The project has: {names}."
            )
        elif member.script and scripts[member.name] and _name(member.script) != _name(scripts[member.name]):
            yield Doubt("bad", f"{turret} fired {member.script}, but the project says {scripts[member.name]}.")
        elif _is_other_version(member, digests.get(scripts[member.name])):
            yield Doubt("bad", f"{turret} fired another version of {member.script} than that of the project.")


def _is_other_version(member: Member, digest: str | None) -> bool:
    fired = member.report.script_digest if member.report is not None else ""
    return bool(fired and digest) and fired != digest


def _name(script: str) -> str:
    """Return the last component of a path: turrets of OCT report only that."""
    return script.replace("\\", "/").rpartition("/")[2]


def _of_run(counters: Counters, transactions: int, reason: str | None, damaged: int, *, ended: bool) -> Iterator[Doubt]:
    if reason:
        yield Doubt("bad", f"The run did not go as planned: {reason}.")
    if abs(counters.clock_offset) >= CLOCK_OFFSET:
        side = "behind" if counters.clock_offset < 0 else "ahead of"
        yield Doubt(
            "warning",
            f"The clock of a turret was about {abs(counters.clock_offset):,.0f} s {side} that of the headquarters: its "
            "results are placed by the time since its start.",
        )
    if not transactions and ended:
        yield Doubt("bad", "There is no result.")
    if counters.dropped or damaged:
        yield Doubt("bad", f"{_count(counters.dropped + damaged, 'result')} could not be stored or read.")
    if counters.malformed:
        yield Doubt("warning", f"Left out: {_count(counters.malformed, 'message')} that could not be read.")
    if counters.stale:
        yield Doubt("warning", f"Left out: {_count(counters.stale, 'result')} of an earlier run, with a late arrival.")


def _of_source(source: ImportSource | None, timers: Mapping[str, TimerStats] | None) -> Iterator[Doubt]:
    """Yield the doubts about a run that another tool fired: its unknown values, and the notes in its file."""
    if source is None:
        return
    yield Doubt(
        "warning",
        f"It was imported from {source.file or 'a file'} ({source.format}): nothing is known about the load of the "
        "machine that fired, nor about late starts.",
    )
    if source.aggregated:
        yield Doubt(
            "warning",
            "The file has statistics instead of samples: percentiles are as given, those that it does not have are "
            "left out, and so is the distribution.",
        )
    yield from source.doubts
    for note in source.notes:
        yield Doubt("warning", note)
    if timers is not None and (mixed := timers[ALL_TRANSACTIONS].mixed):
        yield Doubt(
            "warning", f"The durations contain those of {_count(mixed, 'failure')}, not kept apart by {source.format}."
        )


def _of_restarts(restarts: int, has_oct_turrets: bool) -> Iterator[Doubt]:
    if restarts and has_oct_turrets:
        # Turrets of OCT send a result once and get no acknowledgement, so results that were not stored are lost.
        yield Doubt(
            "bad",
            f"The headquarters was restarted {_count(restarts, 'time')} during the run: results of turrets of OCT that "
            "it had received but not stored may be missing.",
        )


def _of_turrets(members: Sequence[Member], *, ended: bool) -> Iterator[Doubt]:
    for member in members:
        turret = f"{member.name} ({member.uuid[:8]})"
        yield from _of_turret(member, turret, ended=ended)
    # A turret that ended before it heard the headquarters cannot say whose it is.
    count = sum(1 for member in members if not member.ours and member.status.strip().lower() not in _TERMINATED)
    if count:
        yield Doubt(
            "warning",
            f"{_count(count, 'turret')} of OCT took part. Such a turret reports neither its load nor its last result. "
            "It starts a transaction only when the previous one is over: while the target stalls, it sends fewer "
            "requests.",
        )


def _of_turret(member: Member, turret: str, *, ended: bool) -> Iterator[Doubt]:
    for absence in member.lost:
        until = f" until {absence.until:%H:%M:%S}" if absence.until is not None else ""
        gone = " It did not reconnect." if ended and absence.until is None else ""
        yield Doubt("bad", f"{turret} was lost from {absence.since:%H:%M:%S} UTC{until}.{gone}")
    if member.status.strip().lower() in _TERMINATED:
        reason = f": {member.report.reason}" if member.report is not None and member.report.reason else ""
        yield Doubt("bad", f"{turret} ended as {member.status}{reason}.")
    if member.twice:
        yield Doubt("bad", f"Two turrets used the uuid of {turret}.")
    if ended and member.expected is not None and member.received < member.expected:
        missing = member.expected - member.received
        yield Doubt("bad", f"{_count(missing, 'message')} of {turret} did not arrive.")
    if ended and member.ours and member.expected is None:
        yield Doubt("bad", f"{turret} did not report that it had sent everything.")
    yield from _of_health(member, turret)


def _of_health(member: Member, turret: str) -> Iterator[Doubt]:
    if member.busiest >= BUSY:
        used = f"it used {member.busiest:.0%} of a core"
        if member.busiest >= VERY_BUSY:
            yield Doubt("bad", f"{turret} was at its limit, so its times include its own delays: {used}.")
        else:
            yield Doubt("warning", f"{turret} was near its limit: {used}.")
    if member.lag >= LAG:
        yield _doubt(
            "bad" if member.lag >= LONG_LAG else "warning",
            f"The event loop of {turret} was blocked for up to {member.lag:.3g} s.",
        )
    report = member.report
    if report is None:
        return
    if report.late_starts:
        share = report.late_starts / max(report.transactions, 1)
        level = "bad" if share >= VERY_LATE else "warning"
        if share >= LATE:
            yield _doubt(
                level, f"{turret} started {share:.1%} of its transactions late, by up to {report.lateness:.3g} s."
            )
    if report.joined >= LATE_JOIN:
        yield Doubt(
            "warning", f"{turret} began {report.joined:.3g} s after the start of the run, so it fired for less time."
        )
    if report.never_started:
        yield Doubt("bad", f"{turret} had no free cannon for {_count(report.never_started, 'transaction')}.")
    if report.dropped:
        yield Doubt("bad", f"{turret} had to drop {_count(report.dropped, 'result')}.")
    if report.paused:
        yield Doubt("warning", f"{turret} had to pause for {report.paused:.3g} s, since its results were not stored.")


def _of_machines(machines: Sequence[MachineLoad]) -> Iterator[Doubt]:
    for machine in machines:
        if machine.cpu_avg <= SATURATED_PERCENT:
            continue
        says = f"The processors of {machine.host} were {machine.cpu_avg:.0f}% busy on average"
        if machine.fired:
            yield Doubt("bad", f"{says}, and a turret fired from there: it had to wait for them, too.")
        else:
            yield Doubt(
                "warning", f"{says}: if it is not the target, other programs there may have slowed the run down."
            )


def _doubt(level: str, what: str) -> Doubt:
    return Doubt("bad" if level == "bad" else "warning", what)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def worst(doubts: Iterable[Doubt]) -> str:
    """Return the worst level of some doubts, or `fine` if there are none."""
    levels = {doubt.level for doubt in doubts}
    return "bad" if "bad" in levels else "warning" if levels else "fine"
