"""Makes the slices of a run anew from the results that came one by one."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db.database import Record
from smartmob.turrets.hq.batch import Batch, SliceRow
from smartmob.turrets.slices import TRANSACTION, Distribution
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

_ROUNDING = 2e-6
"""Times are stored in whole microseconds, which must not move a result into the second before."""
_TIMERS = msgspec.json.Decoder(dict[str, float])


async def fold_again(reader: TurretsReader, writer: TurretsWriter, run: UUID, started_at: datetime) -> None:
    """Replace the slices that were folded here by those of all stored results."""
    started = started_at.timestamp()
    seconds: dict[tuple[int, str], Distribution] = {}
    async for records in reader.results(run):
        for record in records:
            _fold(seconds, record, started)
    batch = Batch(run, started)
    batch.slices = [
        SliceRow("", distribution.slice(second, timer)) for (second, timer), distribution in sorted(seconds.items())
    ]
    await writer.fold_again(run, batch)


def _fold(seconds: dict[tuple[int, str], Distribution], record: Record, started: float) -> None:
    second = int(record["at"].timestamp() - started + _ROUNDING)
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
