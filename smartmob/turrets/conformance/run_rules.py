"""Judges a run of a turret by its messages and by what the target saw. No I/O.

A busy machine makes messages late, never early, so each limit is chosen so that late messages pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from smartmob.counts import counted
from smartmob.turrets.conformance.frame_rules import Configured, ReceivedFrame
from smartmob.turrets.conformance.rules import RuleFindings

CLOCK_SECONDS = 2.0
"""The allowed error of `epoch` in seconds: it may be in whole seconds, and clocks are read one after the other."""

ELAPSED_SECONDS = 1.0
"""The seconds by which `elapsed` may exceed the time since the order: it may be in whole seconds."""

LEAST_SHARE = 0.25
"""The least share of the time between the first and the last result by which `elapsed` must have grown."""

LEAST_SPAN_SECONDS = 1.0
"""Results within a shorter time do not show whether `elapsed` grows."""


class RunRecord(msgspec.Struct, kw_only=True):
    """The course of a run, in seconds of the steady clock; what has not happened is None.

    `ordered_at` and `ordered_wall` (seconds since 1970) are the time of the order, `all_at` when as many requests as
    there are cannons were under way for the first time, `stopped_at` the time of the order `stop`, `ready_at` when the
    turret was ready again. `peak` and `later_peak` are the most requests under way before and after the second `start`.
    `hits` are the requests of the run, `delay` the seconds after which the target answered each.
    """

    ordered_at: float
    ordered_wall: float
    all_at: float | None = None
    stopped_at: float | None = None
    ready_at: float | None = None
    hits: int = 0
    peak: int = 0
    later_peak: int = 0
    delay: float = 0.0


def _judge_duration(result: ReceivedFrame, duration: float, since: float, delay: float, findings: RuleFindings) -> None:
    """Note a duration longer than the run so far, which is `since` seconds, or shorter than the target's `delay`."""
    why = None
    if duration > since + ELAPSED_SECONDS:
        why = f"scriptrun_time is {duration:g}, but the run had started {since:.1f} s before"
    elif result.content.get("error") == "" and duration < 0.9 * delay:
        why = f"scriptrun_time is {duration:g}, but the target answered after {delay:g} s"
    if why is not None:
        findings.failed("result-duration", why, result.frame)


def judge_results(results: Sequence[ReceivedFrame], run: RunRecord, findings: RuleFindings) -> None:
    """Record the faults of the times in the results of a run."""
    for result in results:
        since = result.at - run.ordered_at
        elapsed, duration, epoch = (result.number(key) for key in ("elapsed", "scriptrun_time", "epoch"))
        if elapsed > since + ELAPSED_SECONDS:
            why = f"elapsed is {elapsed:g}, but the run had started {since:.1f} s before"
            findings.failed("result-elapsed", why, result.frame)
        _judge_duration(result, duration, since, run.delay, findings)
        if not run.ordered_wall - CLOCK_SECONDS <= epoch <= result.wall + CLOCK_SECONDS and epoch == epoch:
            why = f"epoch is {epoch:.1f}, but it was {result.wall:.1f} when the result came"
            findings.failed("result-epoch", why, result.frame)
    _judge_growth(results, run, findings)
    if results:
        findings.passed("result-elapsed", "result-duration", "result-epoch")


def _judge_growth(results: Sequence[ReceivedFrame], run: RunRecord, findings: RuleFindings) -> None:
    """Check that `elapsed` grows with time; otherwise it is the duration of the transaction, or of another clock."""
    early = [one for one in results if run.stopped_at is None or one.at <= run.stopped_at]
    if not early or findings.has_failed("result-fields"):
        return
    span = early[-1].at - early[0].at
    grown = max(one.number("elapsed") for one in early) - min(one.number("elapsed") for one in early)
    if span >= LEAST_SPAN_SECONDS and grown < LEAST_SHARE * span:
        why = f"elapsed has grown by {grown:.2f} s in {span:.1f} s of the run"
        findings.failed("result-elapsed", why, early[-1].frame)


def judge_load(run: RunRecord, configured: Configured, findings: RuleFindings) -> None:
    """Record whether the number of simultaneous requests was wrong."""
    findings.passed("cannons", "rampup", "repeated-start")
    if run.peak > configured.cannons:
        findings.failed(
            "cannons", f"{counted(run.peak, 'request')} at once, of {counted(configured.cannons, 'cannon')}"
        )
    elif run.later_peak > configured.cannons:
        why = f"after a second start {counted(run.later_peak, 'request')} at once, of {configured.cannons:,}"
        findings.failed("repeated-start", why)
    if run.all_at is None:
        why = f"at most {counted(run.peak, 'request')} at once, of {counted(configured.cannons, 'cannon')}"
        findings.failed("cannons", why)
        findings.skipped(["rampup"], "not all cannons were seen")
    elif (needed := run.all_at - run.ordered_at) < _least_rampup(configured):
        why = f"all cannons fired {needed:.2f} s after start; rampup is {configured.rampup:g} s"
        findings.failed("rampup", why)


def _least_rampup(configured: Configured) -> float:
    """Return half the seconds after which the last cannon starts: the start may be counted from another moment."""
    return configured.rampup * (configured.cannons - 1) / configured.cannons / 2


def judge_counts(results: Sequence[ReceivedFrame], run: RunRecord, findings: RuleFindings) -> None:
    """Record whether the target saw as many requests as there are results."""
    if len(results) == run.hits:
        findings.passed("counts")
    else:
        last = results[-1].frame if results else b""
        findings.failed(
            "counts", f"{counted(len(results), 'result')} for {counted(run.hits, 'transaction')} of the target", last
        )


def judge_conditions(messages: Sequence[ReceivedFrame], run: RunRecord, findings: RuleFindings) -> None:
    """Record whether the statuses between the first `Running` and `stop` say that the turret fires."""
    firing = False
    for message in messages:
        if not message.is_status or message.at < run.ordered_at:
            continue
        if run.stopped_at is not None and message.at > run.stopped_at:
            break
        firing = firing or message.fires
        if firing and not message.fires:
            why = f"the status is {message.content['status']!r:.40} while it fires; {'Running'!r} in any case says that"
            findings.failed("running-status", why, message.frame)
    if firing:
        findings.passed("running-status")


def judge_order(results: Sequence[ReceivedFrame], run: RunRecord, findings: RuleFindings) -> None:
    """Record whether results came after the status that reports the turret as ready again."""
    if run.ready_at is None:
        return
    late = [one for one in results if one.at > run.ready_at]
    if late:
        came = counted(len(late), "result")
        why = f"{came} came after the status; the headquarters waits --turrets-quiet seconds for them"
        findings.unsupported("results-before-ready", why)
    else:
        findings.passed("results-before-ready")
