"""The libraries of flask-system-monitor's clients, used as those clients use them, against a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import environments
from tests.interop.children import clean_environment, run

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

CLIENTS: environments.Installs = (("requests==2.32.5", "websocket-client==1.9.0"),)


@pytest.mark.parametrize("key", ["pass", "password"])
async def test_a_client_of_the_original(client: Any, tmp_path: Path, key: str) -> None:
    """Registration, samples by form and WebSocket, events and reports work, to the byte where it matters."""
    driver = Path(__file__).with_name("host_driver.py")
    command = [environments.python_with(CLIENTS), driver, f"http://127.0.0.1:{client.server.port}", "wood", key]

    ended = await run(command, tmp_path, clean_environment(tmp_path))

    assert ended.code == 0, ended.output
    told = [json.loads(line) for line in ended.output.splitlines()]
    did = {line["did"]: line for line in told}
    assert did["register"]["body"] == {"client_id": "d29vZDoxMjM=", "registration": "wood"}
    assert [(line["status"], line["same"]) for line in told if line["did"] == "send"] == [(202, True)] * 2
    echoed = [line for line in told if line["did"] == "echo"]
    assert [line["data"] for line in echoed] == [True] * 5
    assert {line["welcome"] for line in echoed} == {'{"type": "WELCOME", "payload": {"welcome": "WELCOME"}}'}
    assert did["subscribe"]["text"] == '{"type": "SUBSCRIBED", "payload": {"request_id": "1"}}'
    assert (len(did["subscribe"]["event"]["mem"]), len(did["subscribe"]["event"]["storage"])) == (11, 4)
    assert did["unsubscribe"]["text"] == '{"type": "UNSUBSCRIBED", "payload": {"request_id": "1"}}'
    assert did["time"]["body"] == {"start": did["time"]["now"], "end": did["time"]["now"] + 6}
    assert (did["report"]["status"], did["report"]["times"]) == (200, list(range(7)))
