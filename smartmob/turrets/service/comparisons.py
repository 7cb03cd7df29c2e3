"""Comparisons of two runs, computed from their slices."""

from __future__ import annotations

import asyncio

import msgspec

from smartmob.errors import Conflict
from smartmob.turrets.model import ENDED, Run
from smartmob.turrets.report.run_comparison import (
    BatchedRun,
    RunComparison,
    common_timers,
    compared,
    difference_of,
    notes_of,
    plan,
)
from smartmob.turrets.service.queries import CurrentRun, RunQueries
from smartmob.turrets.store.reader import TurretsReader


class RunComparisons:
    """Compares runs; an unknown run raises NotFound, and one that has not ended raises Conflict."""

    def __init__(self, queries: RunQueries, reader: TurretsReader) -> None:
        self._queries = queries
        self._reader = reader
        # A comparison takes as much memory as a report, so one is computed at a time.
        self._comparing = asyncio.Semaphore(1)

    async def compare(
        self, first: str, second: str, skip: float, least_effect: float, letters: str = "AB"
    ) -> RunComparison:
        """Return the comparison of two runs; the first `skip` seconds of both are left out.

        `letters` has the names of the first and of the second run in sentences.
        """
        runs = [await self._ended(ident) for ident in (first, second)]
        counts = [await self._reader.timer_counts(run.uuid) for run in runs]
        names, left_out = common_timers(*counts)
        shown = Run(**runs[0].fields()), Run(**runs[1].fields())
        async with self._comparing:
            batched = [await self._batched(run, names, skip) for run in runs]
            found = await asyncio.to_thread(
                compared,
                shown,
                (batched[0], batched[1]),
                _reason(runs[0], runs[1]),
                least_effect,
                letters,
            )
        return msgspec.structs.replace(
            found,
            left_out=left_out,
            notes=notes_of(
                shown,
                [run.firing_seconds() for run in runs],
                [await self._queries.members(run) for run in runs],
                letters,
            ),
            only_first=sorted(counts[0].keys() - counts[1].keys()),
            only_second=sorted(counts[1].keys() - counts[0].keys()),
        )

    async def _ended(self, ident: str) -> CurrentRun:
        run = await self._queries.find(ident)
        if run.state.state not in ENDED:
            raise Conflict(f"run {ident} is {run.state.state}; wait for its end")
        return run

    async def _batched(self, run: CurrentRun, names: list[str], skip: float) -> BatchedRun:
        batched = BatchedRun(run.firing_seconds(), names, skip)
        async for slices in self._reader.slices(run.uuid):
            await asyncio.to_thread(batched.add, slices)
        return batched


def _reason(first: CurrentRun, second: CurrentRun) -> str:
    """Return why two runs cannot be compared, or ""."""
    sources = [run.source.format if run.source else "smartmob" for run in (first, second)]
    if any(run.source is not None and run.source.aggregated for run in (first, second)):
        return f"{' and '.join(dict.fromkeys(sources))}: without samples there are no repeated measurements"
    if sources[0] != sources[1]:
        return f"they were fired by different tools: {sources[0]} and {sources[1]}"
    if first.source is not None:
        return ""
    plans = [plan(msgspec.json.decode(run.config)) for run in (first, second)]
    return difference_of(*plans)
