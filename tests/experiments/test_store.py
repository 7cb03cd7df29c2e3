"""The table of experiments."""

from __future__ import annotations

from datetime import timedelta

from smartmob.experiments.store import ExperimentStore
from smartmob.experiments.stored_experiment import summary_of
from smartmob.kernel.db.database import Database
from tests.experiments.reports import BEGIN, report


async def test_an_experiment_is_inserted_once_and_expires(database: Database) -> None:
    """The second insertion changes nothing; what is older than a time is removed, and the rest stays."""
    store = ExperimentStore(database)
    old, new = report(), report(ended="the time was up")
    for found, stored_at in ((old, BEGIN), (new, BEGIN + timedelta(days=1))):
        assert await store.insert(found, summary_of(found, stored_at), b"first")
        assert not await store.insert(found, summary_of(found, stored_at), b"second")
        assert found.id is not None
        assert await store.digest(found.id) == b"first"
    assert [one.id for one in await store.between(BEGIN, BEGIN + timedelta(seconds=1), 10)] == [new.id, old.id]
    assert await store.between(BEGIN + timedelta(seconds=31), BEGIN + timedelta(hours=1), 10) == []
    assert await store.expire(BEGIN + timedelta(hours=1)) == 1
    assert [one.id for one in await store.newest(None, None, 10)] == [new.id]
    assert old.id is not None
    assert await store.details(old.id) is None
