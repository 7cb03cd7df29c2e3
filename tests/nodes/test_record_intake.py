"""The intake of the records of nodes."""

from __future__ import annotations

from typing import Any, cast

import structlog

from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from smartmob.nodes.links import Link
from smartmob.nodes.protocol import Records
from smartmob.nodes.record_intake import RecordIntake, Retention
from smartmob.nodes.record_store import RecordStore
from tests.nodes.test_records import JOB, _record


async def test_records_are_stored_until_they_are_too_old(database: Database) -> None:
    """Records that a node has dropped are logged once; those beyond the retention are deleted."""
    records = RecordStore(database)
    link = Link("rack7", cast("Any", None), clock.now())
    intake = RecordIntake(records, Retention(event_days=0.0, job_days=0.0))
    message = Records(journal="j", dropped=3, records=[_record("job", JOB, 1)])
    with structlog.testing.capture_logs() as logs:
        assert await intake.store(link, message) == 1
        assert await intake.store(link, message) == 1
    assert [(line["event"], line["dropped"]) for line in logs] == [("node.records_dropped", 3)]
    assert len(await records.jobs("rack7", None, None, 9)) == 1

    await intake.expire(clock.now())
    assert await records.jobs("rack7", None, None, 9) == []
