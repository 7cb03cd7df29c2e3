"""Times of senders whose clocks are wrong: they are stored, and ordered by their arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartmob.feature_settings import MetricsSettings
from smartmob.kernel.runtime import clock
from smartmob.metrics.sender_clock import OLDEST, SenderClock, explanation
from tests.metrics.samples import metric, session
from tests.metrics.suites import TESTS, compare, describe, get, send, verdict_on

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
IMPLAUSIBLE = (
    *("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00"),
    *("1601-01-01T00:00:00Z", "1904-01-01T00:00:00Z", "1969-12-31T23:59:59.999999+00:00", "1970-01-01T00:00:41+00:00"),
    *("1980-01-06T00:00:00Z", "2000-01-01T00:13:00Z"),
    *("2099-01-01T00:00:00Z", "9999-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59"),
)


@given(st.floats(-62_135_596_800.0, 253_402_300_799.0))
@example(OLDEST.timestamp())
@example(NOW.timestamp() + 3600.0)
def test_a_metric_is_ordered_by_its_own_time_only_if_that_is_plausible(time: float) -> None:
    """The time that orders a metric is between the oldest plausible time and an hour from now."""
    rule, now = SenderClock(3600.0), NOW.timestamp()
    assert rule.is_plausible(time, now) == (OLDEST.timestamp() <= time <= now + 3600.0)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (None, None),
        (datetime(2099, 1, 1, tzinfo=UTC), "2099-01-01 00:00 UTC, 26,330 days after its arrival"),
        (NOW + timedelta(hours=2), "2.0 hours after its arrival"),
        (datetime(1970, 1, 1, tzinfo=UTC), "days before its arrival"),
        (datetime.min.replace(tzinfo=UTC), "dated it 0001-01-01 00:00 UTC"),
    ],
)
def test_the_reason_says_what_the_sender_gave_and_how_far_off_that_is(
    stated: datetime | None, said: str | None
) -> None:
    """A person can see from the reason whether the clock or the year is wrong."""
    found = explanation(stated, NOW)
    assert (found is None) == (said is None)
    assert said is None or said in (found or "")


async def test_a_session_of_any_date_is_stored_and_listed(client: Any) -> None:
    """All listings answer, the text of the sender is kept, and each run says why it is ordered by its arrival."""
    await describe(client)
    for number, text in enumerate(IMPLAUSIBLE):
        name = f"s{number}"
        async with client.post("/sessions/", json=session(name, run_date=text, scm_ref=f"of-{name}")) as response:
            assert (response.status, (await response.json())["run_date"]) == (201, text)
        rows = [metric(session_h=name, item_start_time=text, item=test, item_variant=test) for test in TESTS]
        async with client.post("/metrics/", json=rows) as response:
            assert response.status == 201, text
    runs = (await get(client, "/runs/"))["runs"]
    assert len(runs) == len(IMPLAUSIBLE)
    now = clock.now()
    for run in runs:
        assert run["clock"].startswith("the sender dated it "), run
        assert abs(now - datetime.fromisoformat(run["started_at"])) < timedelta(hours=1)
    assert {row["run_date"] for row in (await get(client, "/sessions/"))["sessions"]} == set(IMPLAUSIBLE)
    for path in ("/metrics/", "/runs/s0", "/runs/s0/metrics", "/metrics/orphans", "/items/test_0/history"):
        await get(client, path)
    found = await compare(client, "s0", f"s{len(IMPLAUSIBLE) - 1}")
    assert found["base"]["started_at"] > "2001"
    assert (await get(client, "/console/data/timeline"))["spans"]


async def test_a_session_of_the_future_is_neither_the_latest_nor_confirmed_by_the_next(client: Any) -> None:
    """A session that is dated 2099 takes its place by its arrival, and later sessions still confirm each other."""
    await describe(client)
    start = clock.now() - timedelta(hours=20)
    for hour in range(10):
        await send(client, f"s{hour:02}", hour, start=start)
    await send(client, "far", 0, start=datetime(2099, 1, 1, tzinfo=UTC), context_h="d" * 32)
    await send(client, "new", 0, {"test_3": 0.2}, start=clock.now())
    latest = (await get(client, "/runs/"))["runs"][0]
    assert (latest["id"], latest["clock"]) == ("new", None)
    found = await compare(client, "s09", "latest")
    assert (found["head"]["id"], verdict_on(found, "test_3")) == ("new", "suspect")


async def test_the_distance_ahead_can_be_set(with_settings: Any) -> None:
    """A time within the set distance is taken as it is."""
    client = await with_settings(metrics=MetricsSettings(max_clock_ahead=10 * 86_400.0))
    for days in (9, 11):
        date = (clock.now() + timedelta(days=days)).isoformat()
        async with client.post("/sessions/", json=session(f"s{days}", run_date=date)) as response:
            assert response.status == 201
    runs = {run["id"]: run["clock"] for run in (await get(client, "/runs/"))["runs"]}
    assert (runs["s9"], runs["s11"] is None) == (None, False)
