"""Programs that run once in a prepared folder, through the command `exec`."""

from __future__ import annotations

from typing import Any

import orjson

from smartmob.settings import ProcessesSettings
from tests.processes.conftest import Agent


async def _exec(agent: Agent, cmd: str, **source: Any) -> list[dict[str, Any]]:
    url = agent.app("web: true\n", {".env": "COLOUR=red\n"})
    whole = {"app": "app", "source_url": url, **source}
    body = {"cmd": cmd, "stdin": "", "apart": True, "env": {"WHO": "me"}, "source": whole}
    async with agent.client.post("/commands/exec", json=body) as response:
        return [orjson.loads(line) for line in (await response.read()).splitlines()]


async def test_a_program_runs_in_the_folder_and_the_environment_of_the_application(agent: Agent) -> None:
    """It is no process, and its folder is gone at the end."""
    found = await _exec(agent, "cat Procfile; echo $COLOUR $WHO >&2; pwd; exit 4")

    texts = [(line.get("stream"), line["text"]) for line in found if "text" in line]
    output = "".join(text for stream, text in texts if stream is None)
    errors = "".join(text for stream, text in texts if stream == "stderr")
    assert (output.splitlines()[0], errors, found[-1]["exit_code"]) == ("web: true", "red me\n", 4)
    folder = output.splitlines()[1]
    assert "/copies/app.run." in folder
    async with agent.client.get("/api/v1/processes") as response:
        assert await response.json() == {"processes": []}
    async with agent.client.post("/commands/ls", json=[folder]) as response:
        assert "No such directory" in await response.text()


async def test_words_with_an_option_c_are_no_text_of_a_shell(agent: Agent) -> None:
    """`wc -c` and `python -c pass` are run as they are."""
    assert (await _exec(agent, "wc -c"))[-1]["exit_code"] is not None
    assert (await _exec(agent, "env true -c pass"))[-1]["exit_code"] == 0
    assert "Syntax error" in (await _exec(agent, "echo ("))[-1]["error"]["message"]


async def test_limits_and_faults_of_the_source_are_told(agent: Agent) -> None:
    """A limit without a control group says how it is held, a bad field and a failed download say why."""
    found = await _exec(agent, "echo hi", limits={"memory": 64 << 20})
    shown = "".join(line["text"] for line in found if line.get("stream") == "stderr")
    assert shown == "" or "memory checked every" in shown
    bad = (await _exec(agent, "echo hi", limits={"memory": 1}))[-1]["error"]["message"]
    assert "$.limits.memory" in bad
    gone = (await _exec(agent, "echo hi", source_url="http://127.0.0.1:1/none.zip"))[-1]["error"]["message"]
    assert gone.startswith("download failure: ")


async def test_a_program_above_its_limit_is_ended(agent_with: Any) -> None:
    """Its samples are compared with its limits where no control group holds it, and the cause is told."""
    agent = await agent_with(processes=ProcessesSettings(sample_seconds=0.05, cgroup="off"))
    found = await _exec(agent, "sleep 600 & sleep 600 & sleep 600 & wait", limits={"tasks": 2})
    assert "its limit is 2" in "".join(line.get("text", "") for line in found)
