"""Re-aggregation: makes the slices of a run again from its stored single results."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db.database import Record
from smartmob.turrets.hq.batch import Batch, SliceRow
from smartmob.turrets.slices import TRANSACTION, Distribution
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

_ROUNDING_SECONDS = 2e-6
"""Times are stored in whole microseconds; rounding must not move a result into the second before."""
_TIMERS = msgspec.json.Decoder(dict[str, float])


async def reaggregate(reader: TurretsReader, writer: TurretsWriter, run: UUID, started_at: datetime) -> None:
    """Replace the slices that the headquarters aggregated by slices of all stored single results."""
    started = started_at.timestamp()
    seconds: dict[tuple[int, str], Distribution] = {}
    async for records in reader.results(run):
        for record in records:
            _aggregate(seconds, record, started)
    batch = Batch(run, started)
    batch.slices = [
        SliceRow("", distribution.slice(second, timer)) for (second, timer), distribution in sorted(seconds.items())
    ]
    await writer.replace_aggregated(run, batch)


def _aggregate(seconds: dict[tuple[int, str], Distribution], record: Record, started: float) -> None:
    second = int(record["at"].timestamp() - started + _ROUNDING_SECONDS)
    own = _distribution(seconds, second, TRANSACTION)
    own.record(record["scriptrun_time"])
    if record["error"]:
        own.fail(record["error"])
    if record["custom_timers"]:
        for timer, value in _TIMERS.decode(record["custom_timers"]).items():
            _distribution(seconds, second, timer).record(value)


def _distribution(seconds: dict[tuple[int, str], Distribution], second: int, timer: str) -> Distribution:
    found = seconds.get((second, timer))
    if found is None:
        found = seconds[second, timer] = Distribution()
    return found
