"""The use cases of stored experiments: events and retention."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from smartmob.app import build
from smartmob.experiments.events import ExperimentDeleted, ExperimentStored
from smartmob.feature_settings import ExperimentsSettings
from smartmob.kernel.runtime import clock
from smartmob.settings import Settings
from tests.conftest import running
from tests.experiments.reports import report


async def test_experiments_are_told_and_expire(settings: Settings) -> None:
    """An event follows the storing and the deletion; with a limit of days, older ones are removed."""
    service = build(replace(settings, experiments=ExperimentsSettings(keep_days=2.0)))
    told: list[Any] = []
    service.bus.subscribe(ExperimentStored, told.append)
    service.bus.subscribe(ExperimentDeleted, told.append)
    experiments = service.services.experiments
    async with running(service):
        found = report()
        assert (await experiments.store(found))[1]
        assert not (await experiments.store(found))[1]
        await experiments.delete(found.id)
        assert [type(event) for event in told] == [ExperimentStored, ExperimentDeleted]
        await experiments.store(found)
        assert await experiments.expire(clock.now() + timedelta(days=1)) == 0
        assert await experiments.expire(clock.now() + timedelta(days=3)) == 1
        assert await experiments.newest(None, 10) == []
