"""Alerts over HTTP: from a rule to the message that its receiver gets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from smartmob.feature_settings import AlertsSettings
from smartmob.turrets.result_files.imported_run import ImportHead, ImportLine
from tests.alerts.webhooks import Webhook
from tests.hosts.samples import register, sample
from tests.turrets.conftest import QUICK as QUICK_HEADQUARTERS
from tests.turrets.messages import slice_of
from tests.turrets.runs import ask
from tests.waiting import until

API = "/api/v1/alerts"
QUICK = AlertsSettings(tick=0.05, group_wait=0.0)


@pytest.fixture(name="service")
async def _service(with_settings: Any) -> Any:
    """Return a client of a service that looks often."""
    return await with_settings(alerts=QUICK)


async def _put(client: Any, path: str, **document: Any) -> dict[str, Any]:
    async with client.put(f"{API}/{path}", json=document) as response:
        found: dict[str, Any] = await response.json(content_type=None)
        assert response.status == 200, found
        return found


async def _active(client: Any) -> list[dict[str, Any]]:
    async with client.get(API) as response:
        assert response.status == 200
        found: list[dict[str, Any]] = (await response.json())["alerts"]
        return found


async def _report(client: Any, headers: dict[str, str], **values: Any) -> None:
    async with client.post("/client/wood", data=sample(**values), headers=headers) as response:
        assert response.status == 202


async def test_a_silent_machine_is_told_once_and_its_return_once(service: Any, webhook: Webhook) -> None:
    """A machine that stops to report fires one message; when it reports again, one message says so."""
    await _put(service, "receivers/ops", address=webhook.url)
    await _put(service, "rules/gone", condition="silent for 1s", subjects=["wood"])
    headers = {"Authorization": await register(service)}
    await _report(service, headers)

    await until(lambda: webhook.requests)
    assert webhook.alerts == [("firing", "gone", "wood")]
    [active] = await _active(service)
    assert (active["subject"], active["resolved_at"], active["severity"]) == ("wood", None, "warning")

    async def reports_until_resolved() -> bool:
        await _report(service, headers)
        return len(webhook.requests) > 1

    await until(reports_until_resolved)
    assert webhook.alerts == [("firing", "gone", "wood"), ("resolved", "gone", "wood")]
    first, second = webhook.documents
    assert first["alerts"][0]["id"] == second["alerts"][0]["id"] == active["id"]
    assert first["version"] == 1 and "wood has sent nothing for 1s" in first["text"]


async def test_a_failed_job_and_a_failed_load_test_are_told_once(with_settings: Any, webhook: Webhook) -> None:
    """Both go through the service to the webhook, once each, with the id of the job and the run as the cause.

    So does an imported load test that meets a condition, although it was fired years ago.
    """
    service = await with_settings(alerts=QUICK, turrets=QUICK_HEADQUARTERS)
    await _put(service, "receivers/ops", address=webhook.url)
    await _put(service, "rules/jobs", condition="job failed")
    await _put(service, "rules/soak", condition="load test failed", subjects=["soak*"])
    async with service.post("/commands/exec", json={"cmd": "exit 3"}) as response:
        assert '"exit_code":3' in (await response.text()).replace(" ", "")
    run = await ask(service, name="soak 1", wait=0.05)
    await until(lambda: len(webhook.alerts) == 2)
    told = {alert["rule"]: alert for document in webhook.documents for alert in document["alerts"]}
    assert told["jobs"]["subject"] == "exit 3" and "exit code 3" in told["jobs"]["summary"]
    assert (told["soak"]["subject"], told["soak"]["cause"]) == ("soak 1", run["id"])
    assert "only 0 of 1 turret became ready" in told["soak"]["summary"]
    fired = datetime(2023, 11, 14, tzinfo=UTC)
    head = ImportHead(
        format="JMeter CSV", digest="ab" * 16, duration=2.0, name="soak 2", started_at=fired, fail_if=["max<1s"]
    )
    lines = [ImportLine(head=head), ImportLine(slices=[slice_of(0, [0.5, 0.25])])]
    body = b"\n".join(map(msgspec.json.encode, lines))
    async with service.post(
        "/turret-runs/imports", data=body, headers={"Content-Type": "application/x-ndjson"}
    ) as response:
        assert response.status == 201, await response.text()
        imported = (await response.json())["run"]["id"]
    await until(lambda: len(webhook.alerts) == 3)
    told = {alert["subject"]: alert for document in webhook.documents for alert in document["alerts"]}
    assert told["soak 2"]["cause"] == imported
    assert "it met max<1s: max 500.0 ms < 1.00 s" in told["soak 2"]["summary"]
