"""Two runs of a turret as a headquarters of OCT orders them: one against a good target, one against a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from smartmob.counts import counted
from smartmob.kernel.runtime import clock
from smartmob.turrets.conformance import run_rules
from smartmob.turrets.conformance.frame_rules import ReceivedFrame
from smartmob.turrets.conformance.run_rules import RunRecord
from smartmob.turrets.conformance.turret_project import CONTEXT_KEY

if TYPE_CHECKING:
    from smartmob.turrets.conformance.turret_check import TurretCheck

LEAST_RESULTS = 5
"""The number of results to wait for before `stop`."""

LEAST_ERRORS = 3
"""The number of results of failed transactions to wait for."""

QUIET_SECONDS = 1.0
"""A run is over when no message has arrived for this time after the turret was ready again."""

_MOST_SPANS = 10  # of QUIET_SECONDS each
_CONTEXT = "context-of-the-check"
OF_THE_TARGET = (
    *("waits-for-start", "cannons", "rampup", "repeated-start", "counts", "context"),
    *("errors", "survives-errors"),
)
"""Rules that cannot be checked when the transactions do not go to the target of the check."""


async def check_first_run(check: TurretCheck) -> bool:
    """Check a whole run; return whether the turret has fired."""
    hq, target, findings, options = check.headquarters, check.target, check.findings, check.options
    if not options.target:
        findings.skipped(OF_THE_TARGET, "the transactions do not go to the target of the check (--no-target)")
    elif target.hits:
        findings.failed("waits-for-start", f"{counted(target.hits, 'request')} came to the target before start")
    else:
        findings.passed("waits-for-start")
    check.say("the first run")
    hq.order("set_transaction_context", {CONTEXT_KEY: _CONTEXT})
    seen, loop = len(hq.messages), asyncio.get_running_loop()
    hits = target.hits
    target.watch(options.cannons)
    run = RunRecord(ordered_at=loop.time(), ordered_wall=clock.epoch(), delay=target.delay if options.target else 0.0)
    if not await check.order_until("start", lambda: _fires(check, seen, hits)):
        findings.failed("starts", check.process.ending if check.process.has_ended() else _silent(check, seen))
        return False
    findings.passed("starts")
    if not await check.changes.until(lambda: any(one.fires for one in hq.statuses(seen)), options.patience):
        last = hq.statuses(seen)[-1].frame if hq.statuses(seen) else b""
        findings.failed("running-status", "it fires, but no status says Running, in any case of letters", last)
    await _fire(check, run, seen)
    run.stopped_at = loop.time()
    results_before_stop = len(hq.results(seen))
    await _stop(check, run, seen, hits)
    run.hits = target.hits - hits
    run.all_at = target.all_at
    if results_before_stop:
        findings.passed("results")
    else:
        findings.failed("results", f"no result came before stop; {counted(run.hits, 'request')} had come to the target")
    _judge(check, run, seen)
    return not check.process.has_ended() or await check.begin()


async def _fire(check: TurretCheck, run: RunRecord, seen: int) -> None:
    """Wait until the turret has fired for the time of the run with all cannons, and send a second `start` meanwhile."""
    hq, target, options, changes = check.headquarters, check.target, check.options, check.changes
    await changes.until(
        lambda: check.process.has_ended() or not options.target or target.all_at is not None,
        options.rampup + options.patience,
    )
    await asyncio.sleep(max(0.0, 3 * target.delay))  # cannons beyond the configured number would be seen by now
    run.peak, target.peak = target.peak, 0
    hq.order("start", "open fire")
    passed = asyncio.get_running_loop().time() - run.ordered_at
    await asyncio.sleep(max(options.run_time - passed, options.rampup + 3 * target.delay))
    run.later_peak = target.peak
    await changes.until(lambda: check.process.has_ended() or len(hq.results(seen)) >= LEAST_RESULTS, options.patience)
    before = _progress(check)
    if check.process.has_ended():
        check.findings.failed("fires-until-stop", check.process.ending)
    elif await changes.until(lambda: _progress(check) > before, options.patience):
        check.findings.passed("fires-until-stop")
    else:
        check.findings.failed("fires-until-stop", f"no transaction came for {options.patience:g} s, before stop")


async def _stop(check: TurretCheck, run: RunRecord, seen: int, hits: int) -> None:
    """Order stop until the turret is ready again, wait for the last results, and order a second stop."""
    hq, findings, changes = check.headquarters, check.findings, check.changes
    if check.process.has_ended():
        findings.skipped(["stops", "spare-stop", "counts", "results-before-ready"], "it had ended before stop")
        await check.begin()
        return
    stopping = len(hq.messages)
    if not await check.order_until("stop", lambda: _stopped(check, stopping)):
        how = check.process.ending if check.process.has_ended() else "it does not say that it is ready again"
        last = hq.statuses(seen)[-1].frame if hq.statuses(seen) else b""
        findings.failed("stops", how, last)
        await check.begin()
        return
    run.ready_at = next(one.at for one in hq.statuses(stopping) if one.is_idle)
    if not await _falls_silent(check):
        why = "transactions go on after it has said that it is ready again"
        findings.failed("stops", why, hq.messages[-1].frame)
        await check.begin()
        return
    findings.passed("stops")
    await changes.until(lambda: not check.options.target or _is_complete(check, seen, hits), check.options.patience)
    frame = hq.order("stop", "premature stop")
    await check.survives("spare-stop", frame, "after a second stop")


def _judge(check: TurretCheck, run: RunRecord, seen: int) -> None:
    hq, findings, options = check.headquarters, check.findings, check.options
    messages, results = hq.since(seen), hq.results(seen)
    run_rules.judge_results(results, run, findings)
    run_rules.judge_conditions(messages, run, findings)
    run_rules.judge_order(results, run, findings)
    if any(one.content.get("custom_timers") for one in results):
        findings.passed("custom-timers")
    else:
        findings.unsupported("custom-timers", "no result has one")
    if options.target:
        _judge_requests(check, run, results)


def _judge_requests(check: TurretCheck, run: RunRecord, results: Sequence[ReceivedFrame]) -> None:
    """Judge the requests of a run, as the target has counted them."""
    findings = check.findings
    run_rules.judge_load(run, check.configured, findings)
    if findings.has_failed("stops"):
        findings.skipped(["counts"], "it did not stop")
    elif not findings.has_failed("fires-until-stop"):
        run_rules.judge_counts(results, run, findings)
    if any(_CONTEXT in path for path in check.target.paths):
        findings.passed("context")
    else:
        findings.unsupported("context", "no request of the script has it")


async def check_second_run(check: TurretCheck) -> None:
    """Check a run against a target that fails, from which the headquarters is away for a time; it goes on firing."""
    hq, target, findings, options = check.headquarters, check.target, check.findings, check.options
    check.say("the second run, against a target that fails")
    target.drops = True
    seen, hits = len(hq.messages), target.hits
    run = RunRecord(ordered_at=asyncio.get_running_loop().time(), ordered_wall=clock.epoch())
    if not await check.order_until("start", lambda: _fires(check, seen, hits)):
        findings.failed("runs-again", check.process.ending if check.process.has_ended() else _silent(check, seen))
        return
    findings.passed("runs-again")
    if options.target:
        await _check_errors(check, seen, hits)
    target.drops = False
    run_rules.judge_results(hq.results(seen), run, findings)
    if not check.process.has_ended():
        await _away_while_firing(check)


async def _check_errors(check: TurretCheck, seen: int, hits: int) -> None:
    hq, target, findings, patience = check.headquarters, check.target, check.findings, check.options.patience
    enough = LEAST_ERRORS + check.options.cannons
    failed = findings.failed
    await check.changes.until(
        lambda: check.process.has_ended() or (target.hits - hits >= enough and len(hq.results(seen)) >= LEAST_ERRORS),
        patience,
    )
    results = hq.results(seen)
    without = [one for one in results if not str(one.content.get("error") or "").strip()]
    if without:
        failed("errors", "error is empty, though the target ended the connection without an answer", without[0].frame)
    elif not results:
        failed("errors", f"no result came for {counted(target.hits - hits, 'transaction')} that failed")
    else:
        findings.passed("errors")
    if check.process.has_ended():
        failed("survives-errors", check.process.ending)
        return
    if target.hits - hits < enough:
        failed("survives-errors", f"only {counted(target.hits - hits, 'transaction')} came within {patience:g} s")
        return
    target.drops = False
    good, later = target.hits, len(hq.messages)
    if await check.changes.until(lambda: target.hits > good and len(hq.results(later)) > 0, patience):
        findings.passed("survives-errors")
    else:
        failed("survives-errors", f"no further transaction came within {patience:g} s")


async def _away_while_firing(check: TurretCheck) -> None:
    from smartmob.turrets.conformance.turret_check import AWAY_SECONDS

    hq, findings = check.headquarters, check.findings
    check.say("the headquarters is away while the turret fires")
    await hq.close()
    await asyncio.sleep(AWAY_SECONDS)
    hq.open()
    what = f"after {AWAY_SECONDS:g} s without a headquarters"
    if await check.answers():
        findings.passed("returns-while-firing")
    else:
        how = check.process.ending if check.process.has_ended() else "it no longer answers orders"
        findings.failed("returns-while-firing", f"{what}: {how}")


def _fires(check: TurretCheck, seen: int, hits: int) -> bool:
    """Return whether anything shows that the turret fires."""
    hq = check.headquarters
    return check.target.hits > hits or any(one.fires or one.is_result for one in hq.since(seen))


def _stopped(check: TurretCheck, stopping: int) -> bool:
    """Return whether the turret has reported after `stop` that it is ready, and no request of it is under way."""
    return any(one.is_idle for one in check.headquarters.statuses(stopping)) and not check.target.under_way


def _progress(check: TurretCheck) -> int:
    """Return a number that grows with each transaction."""
    return check.target.hits + len(check.headquarters.results(0))


async def _falls_silent(check: TurretCheck) -> bool:
    """Return whether no request and no result arrives in one of the next `_MOST_SPANS` spans."""
    for _ in range(_MOST_SPANS):
        before = _progress(check)
        if not await check.changes.until(partial(_has_progressed, check, before), QUIET_SECONDS):
            return True
    return False


def _has_progressed(check: TurretCheck, before: int) -> bool:
    return _progress(check) > before


def _is_complete(check: TurretCheck, seen: int, hits: int) -> bool:
    """Return whether there are at least as many results as requests."""
    return len(check.headquarters.results(seen)) >= check.target.hits - hits


def _silent(check: TurretCheck, seen: int) -> str:
    statuses = check.headquarters.statuses(seen)
    last = f"; its last status is {statuses[-1].content['status']!r:.40}" if statuses else ""
    return f"no transaction and no status Running came within {check.options.patience:g} s{last}"
