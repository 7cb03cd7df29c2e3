"""The verdict whether the statistics of a run can be trusted, with the reasons against it as texts. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from smartmob.turrets.model import Counters, Doubt, MachineLoad, Member, Source, TimerStats, Trust

BUSY, VERY_BUSY = 0.85, 0.97
"""Shares of one core: above the first, a turret's measurements may suffer; above the second, they do."""
LAG, LONG_LAG = 0.05, 0.5
"""Seconds of delay of a turret's event loop from which there is a warning, and from which the run is not trusted."""
LATE, VERY_LATE = 0.01, 0.05
"""Shares of late starts from which there is a warning, and from which the run is not trusted."""
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
    whole: TimerStats | None = None,
    source: Source | None = None,
) -> Trust:
    """Return the verdict on a run; `whole` are the statistics of its transactions, `source` the origin of an import."""
    doubts = [
        *_of_run(counters, transactions, reason, damaged),
        *_of_source(source),
        *_of_failures(whole, source),
        *_of_restarts(counters.restarts, any(not member.ours for member in members)),
        *_of_turrets(members),
        *_of_machines(machines),
    ]
    levels = {doubt.level for doubt in doubts}
    return Trust("no" if "bad" in levels else "with care" if levels else "yes", doubts)


def _of_run(counters: Counters, transactions: int, reason: str | None, damaged: int) -> Iterator[Doubt]:
    if reason:
        yield Doubt("bad", f"The run did not go as planned: {reason}.")
    if not transactions:
        yield Doubt("bad", "There is no result.")
    if counters.dropped or damaged:
        yield Doubt("bad", f"{_count(counters.dropped + damaged, 'result')} could not be stored or read.")
    if counters.malformed:
        yield Doubt("warning", f"{_count(counters.malformed, 'message')} could not be understood and left out.")
    if counters.stale:
        yield Doubt("warning", f"{_count(counters.stale, 'result')} of an earlier run came late and left out.")


def _of_source(source: Source | None) -> Iterator[Doubt]:
    """Yield what cannot be known of a run that another tool fired, and what its file says."""
    if source is None:
        return
    yield Doubt(
        "warning",
        f"It was imported from {source.file or 'a file'} ({source.format}): nothing is known about the load of the "
        "machine that fired, nor about starts that were late.",
    )
    if source.aggregated:
        yield Doubt(
            "warning",
            "The file has statistics instead of samples: percentiles are as given, those that it does not have are "
            "left out, and so is the distribution.",
        )
    for note in source.notes:
        yield Doubt("warning", note)


def _of_failures(whole: TimerStats | None, source: Source | None) -> Iterator[Doubt]:
    if whole is None or not whole.count:
        return
    share = whole.errors / whole.count
    if whole.errors >= whole.count:
        yield Doubt("bad", f"All {_count(whole.count, 'transaction')} failed: there is no latency of a success.")
    elif share > MOST_FAILED:
        yield Doubt(
            "warning", f"{share:.0%} of the transactions failed: latencies are those of the other {1 - share:.0%}."
        )
    if whole.mixed and source is not None:
        yield Doubt(
            "warning",
            f"The latencies contain those of {_count(whole.mixed, 'failure')}, not kept apart by {source.format}.",
        )
    elif whole.mixed:
        yield Doubt(
            "warning",
            f"The latencies contain those of {_count(whole.mixed, 'failure')}: turrets or a service of an earlier "
            "version did not keep them apart.",
        )


def _of_restarts(restarts: int, stock: bool) -> Iterator[Doubt]:
    if restarts and stock:
        # Stock turrets send a result once and get no acknowledgement, so results that were not stored are lost.
        yield Doubt(
            "bad",
            f"The headquarters was restarted {_count(restarts, 'time')} during the run: results of turrets of OCT that "
            "it had received but not stored may be missing.",
        )


def _of_turrets(members: Sequence[Member]) -> Iterator[Doubt]:
    for member in members:
        turret = f"{member.name} ({member.uuid[:8]})"
        yield from _of_turret(member, turret)
    stock = sum(1 for member in members if not member.ours)
    if stock:
        yield Doubt(
            "warning",
            f"{_count(stock, 'turret')} of OCT took part. Such a turret reports neither its load nor its last result, "
            "and starts a transaction only when the one before is over: while the target is frozen, it measures less.",
        )


def _of_turret(member: Member, turret: str) -> Iterator[Doubt]:
    for absence in member.lost:
        until = f" until {absence.until:%H:%M:%S}" if absence.until is not None else ""
        yield Doubt("bad", f"{turret} was lost from {absence.since:%H:%M:%S} UTC{until}.")
    if member.status.strip().lower() in ("aborted", "killed"):
        reason = f": {member.report.reason}" if member.report is not None and member.report.reason else ""
        yield Doubt("bad", f"{turret} ended as {member.status}{reason}.")
    if member.twice:
        yield Doubt("bad", f"Two turrets used the uuid of {turret}.")
    if member.expected is not None and member.received < member.expected:
        missing = member.expected - member.received
        yield Doubt("bad", f"{_count(missing, 'message')} of {turret} did not arrive.")
    if member.ours and member.expected is None:
        yield Doubt("bad", f"{turret} did not report that it had sent everything.")
    yield from _of_health(member, turret)


def _of_health(member: Member, turret: str) -> Iterator[Doubt]:
    if member.busiest >= BUSY:
        level, says = ("bad", "measured itself") if member.busiest >= VERY_BUSY else ("warning", "was near its limit")
        yield _doubt(level, f"{turret} {says}: it used {member.busiest:.0%} of a core.")
    if member.lag >= LAG:
        yield _doubt("bad" if member.lag >= LONG_LAG else "warning", f"{turret} stood still for {member.lag:.3g} s.")
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
        says = f"The processors of {machine.host} were busy for {machine.cpu_avg:.0f}% of the run"
        if machine.fired:
            yield Doubt("bad", f"{says}, and a turret fired from there: it had to wait for them, too.")
        else:
            yield Doubt(
                "warning", f"{says}: if it is not the target, what else ran there may have slowed the run down."
            )


def _doubt(level: str, what: str) -> Doubt:
    return Doubt("bad" if level == "bad" else "warning", what)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def worst(doubts: Iterable[Doubt]) -> str:
    """Return the worst level of some doubts, or `fine` if there are none."""
    levels = {doubt.level for doubt in doubts}
    return "bad" if "bad" in levels else "warning" if levels else "fine"
