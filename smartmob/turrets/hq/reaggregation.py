"""Re-aggregation: recomputes the slices of a run from its stored single results."""

from __future__ import annotations

import math
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db.database import Record
from smartmob.turrets.hq.aggregation import Aggregator, OpenSecond, failed_timers
from smartmob.turrets.hq.batch import Batch
from smartmob.turrets.names import by_timer
from smartmob.turrets.protocol import MOST_TIMERS, ErrorKind, ResultDetails
from smartmob.turrets.slices import TRANSACTION
from smartmob.turrets.store.reader import TurretsReader
from smartmob.turrets.store.writer import TurretsWriter

_ROUNDING_SECONDS = 2e-6
"""Times are stored in whole microseconds; rounding must not move a result into the second before."""
_TIMERS = msgspec.json.Decoder(dict[str, float])
_DETAILS = msgspec.json.Decoder(ResultDetails)


async def reaggregate(reader: TurretsReader, writer: TurretsWriter, run: UUID, started_at: datetime) -> None:
    """Replace the slices that the headquarters aggregated by slices of all stored single results."""
    started = started_at.timestamp()
    aggregator, timers = Aggregator(), set[str]()
    async for records in reader.results(run):
        for record in records:
            _aggregate(aggregator, timers, record, started)
        aggregator.flush()
    batch = Batch(run, started)
    rows, _ = aggregator.close(math.inf)
    batch.slices = sorted(rows, key=lambda row: (row.slice.second, row.slice.timer, row.slice.failed))
    await writer.replace_aggregated(run, batch)


def _aggregate(aggregator: Aggregator, timers: set[str], record: Record, started: float) -> None:
    """Add a result; `timers` has the names of those that are counted, up to the limit of a run."""
    number = max(int(record["at"].timestamp() - started + _ROUNDING_SECONDS), 0)
    second: OpenSecond = aggregator.open(number)
    details = _DETAILS.decode(record["details"]) if record["details"] else None
    error: str = record["error"]
    if error:
        known = details or ResultDetails()
        seconds = None if known.untimed else record["scriptrun_time"]
        second.fail(TRANSACTION, seconds, error, ErrorKind(known.kind, known.code))
    else:
        second.pending[TRANSACTION].append(record["scriptrun_time"])
    if record["custom_timers"]:
        values = by_timer(_TIMERS.decode(record["custom_timers"]))
        timers.update(list(values.keys() - timers)[: max(MOST_TIMERS - len(timers), 0)])
        counted = [(name, value) for name, value in values.items() if name in timers]
        aggregator.add_timers(second, number, counted, failed_timers(error, values, details))
