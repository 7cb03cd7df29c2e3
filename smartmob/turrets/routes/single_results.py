"""The single results of a run as NDJSON and as CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from smartmob import csv_cells
from smartmob.kernel.db.database import Record
from smartmob.turrets.hq.turret_clocks import true_epoch
from smartmob.turrets.names import by_timer

_COLUMNS = ("elapsed", "epoch", "turret_name", "scriptrun_time", "error")
_DETAILS = ("kind", "code", "untimed", "failed_timers")
"""The columns of the error of a result, which turrets of smartmob send; those of OCT send only its text."""


async def as_ndjson(records: AsyncIterator[list[Record]]) -> AsyncIterator[bytes]:
    """Yield results as lines of JSON, in the form in which turrets send them; wrong times of day are corrected."""
    async for group in records:
        yield b"".join(orjson.dumps(_document(record), option=orjson.OPT_APPEND_NEWLINE) for record in group)


async def as_csv(records: AsyncIterator[list[Record]], timers: list[str]) -> AsyncIterator[bytes]:
    """Yield results as a table with a column for each timer.

    `failed_timers` is a JSON object: the error, kind and code of each timer that failed.
    """
    yield csv_cells.encoded([[*_COLUMNS, *_DETAILS, *timers]])
    async for group in records:
        yield csv_cells.encoded(_cells(_document(record), timers) for record in group)


def _document(record: Record) -> dict[str, Any]:
    timers, details = record["custom_timers"], record["details"]
    return {
        **{name: record[name] for name in _COLUMNS},
        "epoch": true_epoch(record["epoch"], record["at"].timestamp(), numbered=record["uuid"] is not None),
        "custom_timers": by_timer(orjson.loads(timers)) if timers is not None else {},
        **({"uuid": record["uuid"]} if record["uuid"] is not None else {}),
        **({"details": orjson.loads(details)} if details is not None else {}),
    }


def _cells(document: dict[str, Any], timers: list[str]) -> list[object]:
    values, details = document["custom_timers"], document.get("details", {})
    failed = details.get("timers")
    return [
        *(document[name] for name in _COLUMNS),
        *(details.get(name) for name in ("kind", "code", "untimed")),
        orjson.dumps(failed).decode() if failed else None,
        *(values.get(name) for name in timers),
    ]
