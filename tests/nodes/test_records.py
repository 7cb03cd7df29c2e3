"""The records of nodes: rows, corrected times, and rubbish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from smartmob.errors import InvalidInput
from smartmob.nodes.protocol import MAX_TEXT, Record
from smartmob.nodes.records import RecordBatch, shortened

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ID = UUID(int=7)
EVENT = {"id": ID, "event": {"slug": "app.web.0", "at": NOW, "kind": "exited", "detail": {"status": 1}}}
JOB = {"id": 3, "state": "exited", "started_at": NOW, "ended_at": NOW + timedelta(seconds=1), "argv": ["ls"]}


def _record(kind: str, value: Any, number: int = 1) -> Record:
    return Record(number, kind, msgspec.Raw(value if isinstance(value, bytes) else msgspec.json.encode(value)))


def test_times_are_those_of_the_service() -> None:
    """A clock that is a day behind is corrected in events and jobs."""
    batch = RecordBatch("rack7", 86_400.0)
    batch.add(_record("process_event", EVENT))
    batch.add(_record("job", JOB))
    assert batch.events[ID].at == NOW + timedelta(days=1)
    assert batch.events[ID].detail == {"status": 1}
    [_], [state], [started], [ended], [record] = batch.job_columns()
    assert (state, started, ended) == ("exited", NOW + timedelta(days=1), NOW + timedelta(days=1, seconds=1))
    assert "2026-11-24T09:00:01Z" in str(record)


def test_the_last_record_of_a_job_counts() -> None:
    """A job is recorded when it starts and when it ends."""
    batch = RecordBatch("rack7", None)
    batch.add(_record("job", {**JOB, "state": "running", "ended_at": None}, 1))
    batch.add(_record("job", JOB, 2))
    assert [list(column) for column in batch.job_columns()][1] == ["exited"]


def test_an_unknown_kind_is_passed_over() -> None:
    """A later version may record more."""
    batch = RecordBatch("rack7", None)
    batch.add(_record("later", {"x": 1}))
    assert not batch.events and not batch.jobs


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("process_event", b"{"),
        ("process_event", b"null"),
        ("process_event", {**EVENT, "id": "x"}),
        ("process_event", {**EVENT, "event": {**EVENT["event"], "at": "2026-11-23T09:00:00"}}),  # type: ignore[dict-item]
        ("process_event", {**EVENT, "event": {**EVENT["event"], "detail": []}}),  # type: ignore[dict-item]
        ("process_event", {**EVENT, "event": {**EVENT["event"], "at": datetime.max.replace(tzinfo=UTC)}}),  # type: ignore[dict-item]
        ("job", {**JOB, "id": 0}),
        ("job", {**JOB, "id": 2**63}),
        ("job", {**JOB, "started_at": None}),
        ("job", b"[" * 100_000),
    ],
)  # the types of the nested values are not known to the checker
def test_rubbish_is_refused_with_its_number(kind: str, value: Any) -> None:
    """One kind of error for all of it, so that the records behind it are stored."""
    with pytest.raises(InvalidInput, match="record 5 of the node rack7 is not valid"):
        RecordBatch("rack7", 3600.0).add(_record(kind, value, 5))


def test_zero_bytes_are_replaced() -> None:
    """PostgreSQL stores none in texts, and the node would send the record again and again."""
    batch = RecordBatch("rack7", None)
    batch.add(_record("process_event", {**EVENT, "event": {**EVENT["event"], "kind": "a\0b"}}))  # type: ignore[dict-item]  # see above
    assert batch.events[ID].kind == "a\ufffdb"


def test_a_record_that_is_too_long_is_cut() -> None:
    """Its texts and lists say how much is missing, and it fits into a message."""
    long = {"argv": ["x" * 100_000] * 500, "id": 3, "env": {str(n): "y" for n in range(100)}}
    cut = msgspec.json.decode(shortened(msgspec.json.encode(long)))
    assert cut["id"] == 3
    assert cut["argv"][0].endswith(f"… ({100_000 - MAX_TEXT} more characters)")
    assert cut["argv"][-1] == "… (450 more)"
    assert len(cut["env"]) == 50
    assert len(shortened(msgspec.json.encode(long))) < 512 * 1024
