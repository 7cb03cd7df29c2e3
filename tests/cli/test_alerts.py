"""`smartmob alerts`: the real command against a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartmob.feature_settings import AlertsSettings
from tests.acceptance.commands import run
from tests.alerts.webhooks import Webhook, listening
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)


async def test_a_rule_from_the_command_line_reaches_its_receiver(with_settings: Any, tmp_path: Path) -> None:
    """Receiver, rule, test message, silence, lists and removal; no list shows the address of a webhook."""
    client = await with_settings(alerts=AlertsSettings(tick=0.05, group_wait=0.0))
    server = {"SMARTMOB_SERVER": f"http://127.0.0.1:{client.server.port}"}

    async def alerts(*arguments: str, code: int = 0) -> tuple[str, str]:
        found, output, errors = await run("alerts", *arguments, **server)
        assert found == code, (arguments, output, errors)
        return output, errors

    async with listening() as webhook:
        await _use(alerts, webhook, tmp_path / "secret")


async def _use(alerts: Any, webhook: Webhook, secret: Path) -> None:
    secret.write_text("s3cret\n")
    _, errors = await alerts("add", "low", "service.free < 1000TB", "--severity", "critical", "--to", "ops")
    assert "There is no receiver ops yet" in errors
    _, errors = await alerts("receiver", "add", "ops", webhook.url, "--secret-file", str(secret))
    assert "secret-path" not in errors
    await alerts("test", "ops")
    await until(lambda: len(webhook.alerts) > 1)
    assert sorted(status for status, _, _ in webhook.alerts) == ["firing", "test"]
    assert all("webhook-signature" in headers for headers, _ in webhook.requests)

    output, _ = await alerts("ls", "--check", code=1)
    assert "critical" in output and "low" in output and "are free on the disk" in output
    assert [each["rule"] for each in json.loads((await alerts("history", "--json"))[0])] == ["low"]
    assert "service.free < 1000TB" in (await alerts("rules"))[0]
    output, _ = await alerts("receiver", "ls")
    assert "ops" in output and "secret-path" not in output
    assert "sent" in (await alerts("messages"))[0]
    assert json.loads((await alerts("messages", "--failed", "--json"))[0]) == []
    assert "0 notifications" in (await alerts("retry"))[1]

    _, errors = await alerts("silence", "rack*", "--for", "2h", "--text", "new kernel")
    ident = errors.split("--end ")[1].strip(" .\n")
    assert "new kernel" in (await alerts("silence", "--ls"))[0]
    await alerts("silence", "--end", ident)
    assert "--for" in (await alerts("silence", "rack*", code=2))[1]

    assert "there is no field 'disk'" in (await alerts("add", "x", "disk > 5", code=3))[1]
    assert "replace it" in (await alerts("add", "low", "cpu > 90", code=3))[1]
    await alerts("add", "low", "service.free < 1B", "--replace")
    await alerts("rm", "low")
    await alerts("receiver", "rm", "ops")

    async def is_resolved() -> bool:
        found: dict[str, Any] = json.loads((await alerts("ls", "--json"))[0])
        return found == {"alerts": [], "pending": []}

    await until(is_resolved)  # by the next evaluation
