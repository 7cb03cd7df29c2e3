"""Tests that became slower: from the sessions of a suite to the message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from smartmob.alerts import regression_observer
from smartmob.alerts.regression_observer import MAX_SESSIONS, RegressionObserver
from smartmob.feature_settings import AlertsSettings
from smartmob.kernel.runtime import clock
from smartmob.metrics.model import Run
from tests.alerts.webhooks import Webhook
from tests.metrics.suites import describe, send
from tests.waiting import until

QUICK = AlertsSettings(tick=0.05, group_wait=0.0, settle=0.05)
SLOW = {"test_3": 0.2}


@pytest.fixture(name="service")
async def _service(with_settings: Any, webhook: Webhook) -> Any:
    """Return a client of a service that has a receiver and tells of regressions."""
    client = await with_settings(alerts=QUICK)
    for path, document in (
        ("receivers/ops", {"address": webhook.url}),
        ("rules/slower", {"condition": "regression by 10%"}),
    ):
        async with client.put(f"/api/v1/alerts/{path}", json=document) as response:
            assert response.status == 200, await response.text()
    return client


async def _looks(client: Any, number: int) -> None:
    """Wait until the rules were evaluated so many times more."""

    async def evaluations() -> float:
        async with client.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("smartmob_alerts_looks ")))

    begin = await evaluations()

    async def done() -> bool:
        return await evaluations() >= begin + number

    await until(done)


async def test_a_change_of_a_test_is_told_once(service: Any, webhook: Webhook) -> None:
    """Neither the suspicion before nor the runs after it are told, and a further change of the test is."""
    start = clock.now() - timedelta(hours=1)
    await describe(service)
    for number in range(10):
        await send(service, f"s{number:02}", number / 60, start=start)
    await send(service, "s10", 10 / 60, SLOW, start=start)
    await _looks(service, 4)
    assert webhook.requests == []

    await send(service, "s11", 11 / 60, SLOW, start=start)
    await until(lambda: webhook.requests)
    assert webhook.alerts == [("firing", "slower", "tests.test_sum::test_3 on rack7")]
    [alert] = webhook.documents[0]["alerts"]
    assert alert["cause"] == "s11" and "has taken 2.0" in alert["summary"] and "of of-s11" in alert["summary"]

    for number in range(12, 18):
        await send(service, f"s{number:02}", number / 60, SLOW, start=start)
        await _looks(service, 3)
    assert len(webhook.requests) == 1


async def test_a_test_that_is_fast_again_ends_its_alert(service: Any, webhook: Webhook) -> None:
    """The end is told when it is confirmed, too."""
    start = clock.now() - timedelta(hours=1)
    await describe(service)
    for number in range(10):
        await send(service, f"s{number:02}", number / 60, start=start)
    for number in range(10, 20):
        await send(service, f"s{number:02}", number / 60, SLOW, start=start)
        await _looks(service, 3)
    for number in range(20, 22):
        await send(service, f"s{number:02}", number / 60, start=start)
        await _looks(service, 3)
    await until(lambda: len(webhook.requests) > 1)
    assert [status for status, _, _ in webhook.alerts] == ["firing", "resolved"]


async def test_a_file_of_old_runs_is_not_told(service: Any, webhook: Webhook) -> None:
    """The import of the history of a year causes no message."""
    start = clock.now() - timedelta(days=30)
    await describe(service)
    for number in range(13):
        await send(service, f"s{number:02}", number, SLOW if number > 9 else None, start=start)
    await _looks(service, 6)
    assert webhook.requests == []


class _Runs:
    """Runs of one session each, that remember which sessions and which verdicts were asked for."""

    def __init__(self) -> None:
        self.sessions: list[str] = []
        self.verdicts: list[str] = []

    async def between(self, *_: Any) -> Sequence[Run]:
        """Return no run."""
        return []

    async def run(self, ident: str) -> Run:
        """Return the run of a session, which has just ended."""
        self.sessions.append(ident)
        end = clock.now()
        return Run(f"run of {ident}", end, end, "", [], [], [], [], 1, None, [], None)

    async def verdict_of_run(self, ident: str) -> Any:
        """Return a verdict about no test."""
        self.verdicts.append(ident)
        return SimpleNamespace(items=[])


async def _look(observer: RegressionObserver, at: datetime) -> None:
    await observer.read(1.0, at)
    observer.commit(1.0)


async def test_a_bounded_number_of_sessions_is_watched() -> None:
    """A sender of very many sessions makes no look longer and keeps no memory: only the newest ones are watched."""
    runs: Any = _Runs()
    observer = RegressionObserver(runs, runs, 0.0)
    await _look(observer, clock.now())
    for number in range(MAX_SESSIONS + 500):
        observer.session_arrived(str(number), 0.0)
    await _look(observer, clock.now())
    assert runs.sessions == [str(number) for number in range(500, MAX_SESSIONS + 500)]


async def test_a_bounded_number_of_judged_runs_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the runs of a service that runs for long only the newest are remembered, and these are not judged again."""
    monkeypatch.setattr(regression_observer, "MAX_SESSIONS", 3)
    runs: Any = _Runs()
    observer = RegressionObserver(runs, runs, 0.0)
    await _look(observer, clock.now())
    for number in range(10):
        observer.session_arrived(str(number), 0.0)
        await _look(observer, clock.now())
    assert runs.verdicts == [f"run of {number}" for number in range(10)]
    assert len(observer._judged) == 3
