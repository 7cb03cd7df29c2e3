"""Whole checks of turrets: one that is right, one in another language, and some that break one rule each."""

from __future__ import annotations

import asyncio
import sys
from itertools import islice
from pathlib import Path

import pytest

from smartmob.turrets.conformance.rules import BY_NAME, RuleResult
from smartmob.turrets.conformance.turret_check import CheckOptions, TurretCheck
from tests.turrets.conformance.example_turrets import MISTAKES, broken, checked, good_turret, with_mistake

LIMIT = 800.0
PARTS = 3
"""Tests into which the turrets are dealt."""
AT_ONCE = 7 // PARTS
"""Turrets that a test checks at a time. With more than seven in all, a busy machine is too slow for the time in which
each must answer."""


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
async def test_a_mistake_breaks_one_rule(part: int, tmp_path: Path) -> None:
    """Each turret with one mistake breaks the rule that says so, and no other; the one without breaks none.

    A check forgives what a late machine may have caused, so those with another result are checked again one by one.
    The turrets are in parts, so that no worker has all of them.
    """
    every = {"": good_turret()} | {rule: with_mistake(rule) for rule in MISTAKES}
    left = dict(islice(every.items(), part, None, PARTS))
    assert left
    for at_once in (AT_ONCE, 1, 1):
        faults = await _faults(tmp_path, left, at_once)
        left = {rule: left[rule] for rule, wrong in faults.items() if set(wrong) != {rule} & set(BY_NAME)}
    assert not left, faults


async def _faults(folder: Path, sources: dict[str, str], at_once: int) -> dict[str, dict[str, str]]:
    """Return the broken rules of turrets, so many of which are checked at a time, by their mistakes."""
    slots = asyncio.Semaphore(at_once)

    async def faults_of(rule: str, source: str) -> dict[str, str]:
        async with slots:
            return broken(await checked(folder, rule, source))

    found = await asyncio.gather(*(faults_of(rule, source) for rule, source in sources.items()))
    return dict(zip(sources, found, strict=True))


async def _checked_again(options: CheckOptions) -> list[RuleResult]:
    """Return the checks of a turret; if a rule is broken, those of a second time: a late machine seldom hides twice."""
    checks = await TurretCheck(options, lambda text: None).run()
    return await TurretCheck(options, lambda text: None).run() if broken(checks) else checks


@pytest.mark.long
@pytest.mark.machine
async def test_a_turret_in_perl_without_a_library(tmp_path: Path) -> None:
    """A turret that speaks the wire protocol of ZeroMQ over plain sockets breaks no rule."""
    options = CheckOptions(command=("perl", str(Path(__file__).with_name("turret.pl"))), patience=60, limit=LIMIT)
    assert broken(await _checked_again(options)) == {}


@pytest.mark.long
async def test_our_own_turret_follows_all_rules() -> None:
    """It breaks none, and has all optional parts that no delay can hide."""
    command = (sys.executable, "-m", "smartmob", "turret", "--config-file", "{config}")
    checks = await _checked_again(CheckOptions(command=command, patience=60, limit=LIMIT))
    assert broken(checks) == {}
    results = {one.rule: one.result for one in checks}
    assert {results[name] for name in ("numbered-results", "slices", "details", "curve")} == {"passed"}


async def test_a_program_that_is_no_turret() -> None:
    """The reason is its end with its last line, and all other rules are told as not reached."""
    options = CheckOptions(command=("sh", "-c", "echo this is no turret >&2; exit 7"), patience=60, limit=LIMIT)
    checks = await TurretCheck(options, lambda text: None).run()
    said = "the turret ended with exit code 7; its last line of output: this is no turret "
    assert broken(checks) == {"announces": said}
    assert {one.result for one in checks} == {"failed", "skipped", "passed"}


async def test_a_check_ends_in_time() -> None:
    """A program that does nothing is ended when the time is over, and the check has failed."""
    check = TurretCheck(CheckOptions(command=("sh", "-c", "sleep 600"), patience=LIMIT, limit=0.5), lambda text: None)
    assert set(broken(await check.run())) == {"in-time"}
    assert check.process.has_ended()
    assert check.process.left() == []
