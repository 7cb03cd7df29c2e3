"""The search of `smartmob fire --find-capacity`: one run for each step, until the capacity of the target is known."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import orjson

from smartmob.cli import printing
from smartmob.cli.capacity_options import CapacityOptions
from smartmob.cli.live_run import live_frames, stopped_by_interrupt
from smartmob.cli.load_reports import save_report
from smartmob.cli.project_package import with_config
from smartmob.cli.run_lookup import RUNS, quoted_id
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, SettingsError, SmartmobError
from smartmob.kernel.runtime.host_names import is_same_host
from smartmob.turrets.capacity.attribution import result_of, shown
from smartmob.turrets.capacity.model import SearchRequest, SearchResult, SearchStep
from smartmob.turrets.capacity.search import CapacitySearch
from smartmob.turrets.capacity.step_evaluation import StepLoad, cannons_needed, evaluate_step
from smartmob.turrets.model import ENDED
from smartmob.turrets.project_archive import find_config
from smartmob.turrets.protocol import RATES_PROTOCOL, TERMINATED

SEARCHES = "/capacity-searches"
_WIDE_COLUMNS = 116  # of a terminal with room for the run and the reason of a step
_MOST_BACKLOG_SECONDS = 60.0
"""The longest extra pause after a step that did not hold: as long as its slowest transactions took."""
_START_SECONDS = 2.0
"""Seconds that a run takes besides firing: the turrets are asked, and the start is announced ahead."""


class CapacityNotFound(SmartmobError):
    """No rate held the conditions, or the search was stopped."""


class CapacityFinder:
    """Searches for the capacity of the target of a project. Use it once."""

    def __init__(self, rest: RestClient, package: bytes, options: CapacityOptions) -> None:
        self._rest = rest
        self._package = package
        self._config: dict[str, Any] = orjson.loads(find_config(package))
        self._options = options
        self._search = CapacitySearch(options.bounds)
        self.steps: list[SearchStep] = []
        self._interrupted = asyncio.Event()
        self._stored: dict[str, Any] = {}
        self._deadline = 0.0
        self._missing, self._is_late = "", False

    @property
    def interrupted(self) -> bool:
        """Return whether CTRL-C was pressed."""
        return self._interrupted.is_set()

    async def check(self) -> None:
        """Check what the search needs before the first step; raises InvalidInput and SettingsError."""
        turrets = (await self._rest.get("/turrets"))["turrets"]
        there = [turret for turret in turrets if turret["alive"] and turret["status"].strip().lower() not in TERMINATED]
        for turret in there:
            # A turret that has had no order yet has reported nothing; the headquarters asks it at the first step.
            if (report := turret["report"]) is not None and report["protocol"] < RATES_PROTOCOL:
                raise InvalidInput(
                    f"turret {turret['name']} takes no rate from the headquarters: end it, or run it with this version "
                    "of smartmob turret"
                )
        host = self._options.settings.target_host
        if host is not None:
            known = [str(each["name"]) async for each in self._rest.rows("/hosts", "hosts")]
            if not any(is_same_host(host, name) for name in known):
                names = ", ".join(known[:10]) or "none"
                raise SettingsError(f"--target-host {host}: no such machine reports to the service; there are: {names}")
        # Each step waits for all of them, so that each has the same turrets.
        given = self._config.get("min_turrets")
        self._config["min_turrets"] = max(len(there), given if isinstance(given, int) else 1)
        if self._config.get("fail_if"):
            printing.say("the conditions of the project (fail_if) are not used: the search has its own")
        self._warn(there)

    def _warn(self, turrets: Sequence[Mapping[str, Any]]) -> None:
        options, settings = self._options, self._options.settings
        first = settings.start_rate * settings.step_time
        for condition in options.conditions:
            statistic = condition.inverse.statistic
            share = float(statistic[1:]) / 100 if statistic.startswith("p") else None
            if share is not None and first * (1 - share) < 10:
                printing.say(
                    f"{condition.text} rests on few transactions at the lowest rate: {first * (1 - share):.2g} of "
                    f"{first:,.0f} are above it; a longer --step-time or a higher --start-rate makes it steadier"
                )
        cannons = sum(turret["cannons"] or 0 for turret in turrets)
        longest = max((each.seconds for each in options.conditions if each.seconds is not None), default=None)
        if longest is not None and cannons and cannons < cannons_needed(settings.max_rate, longest):
            printing.say(
                f"the turrets have {cannons:,} cannon{'s' * (cannons > 1)}: enough for {shown(cannons / longest)} "
                f"while a transaction takes {printing.seconds(longest)}, and for more while it takes less"
            )

    async def run(self) -> SearchResult:
        """Fire steps until the capacity is known, the time is over or CTRL-C is pressed; return the result so far."""
        loop, reason, last = asyncio.get_running_loop(), "", False
        self._deadline = loop.time() + self._options.settings.max_time
        with stopped_by_interrupt() as self._interrupted:
            while (rate := self._search.rate) is not None:
                if loop.time() + self._options.step_seconds + _START_SECONDS > self._deadline and last:
                    reason = "--max-time is over"
                    break
                if self._interrupted.is_set() or (step := await self._fire(rate)) is None:
                    reason = "stopped by request"
                    if self._is_late and not self._interrupted.is_set():
                        reason = f"--max-time is over, and the step was still {self._missing}"
                    break
                last = True
                self.steps.append(step)
                self._search.add(step.outcome)
                printing.say(self._line(step))
                await self.store(None)
                if self._search.rate is not None:
                    await self._cool_down(step)
        return result_of(self._search.finding(), self._options.settings, self.steps, reason)

    async def store(self, result: SearchResult | None) -> dict[str, Any]:
        """Store the search with the service, and return it as it is stored."""
        name = str(self._config.get("name") or "a load test")[:300]
        search = SearchRequest(name=name, settings=self._options.settings, steps=self.steps, result=result)
        document = msgspec.to_builtins(search)
        if self._stored:
            self._stored = await self._rest.put(f"{SEARCHES}/{quote(self._stored['id'], safe='')}", document)
        else:
            self._stored = await self._rest.post(SEARCHES, document)
        return self._stored

    async def _fire(self, rate: float) -> SearchStep | None:
        """Fire one step and return its evaluation, or None if it was stopped. Raises CapacityNotFound."""
        seconds = self._options.step_seconds
        config = (
            self._config
            | {
                "run_time": seconds,
                "warm_up": self._options.settings.warm_up,
                "total_rate": rate,
                "fail_if": [],  # the conditions of the search decide, and a step is not stopped
                "name": f"{self._config.get('name') or 'capacity'} at {shown(rate)}"[:200],
            }
        )
        run = await self._rest.post_bytes(RUNS, with_config(self._package, config), "application/gzip")
        ident = quoted_id(run)
        state = await self._follow(ident)
        summary = await self._rest.get(f"{RUNS}/{ident}/summary")
        if state == "failed":
            raise CapacityNotFound(f"the run {ident} failed: {summary['reason']}")
        if state == "stopped":
            return None
        fired = StepLoad(rate, seconds)
        return evaluate_step(summary, fired, self._options.conditions, self._options.settings.target_host)

    async def _follow(self, ident: str) -> str:
        """Return the state of a run at its end; CTRL-C stops it, and so does the deadline while turrets are missing."""
        state = ""
        async for frame in live_frames(self._rest, ident):
            state = str(frame["state"])
            if self._waits(frame) and asyncio.get_running_loop().time() > self._deadline:
                self._is_late = True
            if (self._interrupted.is_set() or self._is_late) and state not in ENDED:
                await self._rest.post(f"{RUNS}/{ident}/stop", {})
        return state

    def _waits(self, frame: Mapping[str, Any]) -> bool:
        """Return whether a run waits for turrets; say for how many, once and when it changes."""
        if frame["state"] != "waiting":
            return False
        from smartmob.cli.run_display import headline  # it imports rich, which other commands do not need

        missing = headline(frame)
        if missing != self._missing:
            printing.say(missing)
        self._missing = missing
        return True

    async def _cool_down(self, step: SearchStep) -> None:
        """Wait without load, after a step that did not hold also for its backlog."""
        seconds = self._options.settings.cool_down
        if step.outcome != "held" and seconds:
            seconds += min(step.p99 or 0.0, _MOST_BACKLOG_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._interrupted.wait(), seconds)

    def _line(self, step: SearchStep) -> str:
        """Return a step in one line."""
        line = f"step {len(self.steps)}, {shown(step.rate)}: {_SAID[step.outcome]}, p99 {printing.seconds(step.p99)}"
        line += f", {step.errors:.2%} errors"
        return f"{line} ({step.reasons[0]})" if step.reasons else line


_SAID = {"held": "conditions met", "broken": "conditions not met", "saturated": "could not be fired"}


async def find(
    rest: RestClient, package: bytes, options: CapacityOptions, target: Path | None, *, as_json: bool
) -> None:
    """Search for a capacity, show the result and write the report; raises CapacityNotFound when no rate held."""
    finder = CapacityFinder(rest, package, options)
    await finder.check()
    result = await finder.run()
    stored = await finder.store(result)
    if target is not None:
        await save_report(rest, stored["report"], target)
    if as_json:
        printing.print_json(stored)
    else:
        show(finder.steps, result)
    if result.held is None or (result.ending == "unfinished" and finder.interrupted):
        raise CapacityNotFound(result.words)


def show(steps: Sequence[SearchStep], result: SearchResult) -> None:
    """Print the steps of a search and its result."""
    head: tuple[str, ...] = (">Rate", ">Fired", "Outcome", ">p50", ">p95", ">p99", ">Errors")
    rows: list[tuple[str, ...]] = [
        (
            *(shown(step.rate), shown(step.achieved), _SAID[step.outcome]),
            *(*map(printing.seconds, (step.p50, step.p95, step.p99)), f"{step.errors:.2%}"),
        )
        for step in steps
    ]
    if printing.console().width >= _WIDE_COLUMNS:  # else it is in the report
        head = (*head, "Run", "Reason")
        rows = [
            (*row, step.run, step.reasons[0] if step.reasons else "") for row, step in zip(rows, steps, strict=True)
        ]
    printing.print_table("Steps", head, rows)
    printing.print_sentence(f"Capacity: {result.words}.")
    printing.print_sentence(f"Limit: {result.limit}.")
