"""The routes of the feature: those of seed 002, and our own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from smartmob.feature_settings import ProcessesSettings
from tests.each import each
from tests.kernel.subprocesses.families import FAMILY, family, living
from tests.processes.archives import KINDS, File, make_archive
from tests.processes.conftest import SLEEP, Agent, lines, until_line
from tests.waiting import SECONDS, until


async def test_the_root_names_two_addresses(agent: Agent) -> None:
    """They are absolute, and the document has no other field."""
    base = str(agent.client.make_url("")).rstrip("/")
    async with agent.client.get("/") as response:
        assert await response.json() == {"create": f"{base}/create-process", "list": f"{base}/list-processes"}


async def test_a_browser_is_redirected_to_the_console(agent: Agent) -> None:
    """A request that accepts HTML is one of a browser."""
    async with agent.client.get("/", headers={"Accept": "text/html"}, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/console/")


async def test_addresses_begin_with_the_host_header_of_the_request(agent: Agent) -> None:
    """The addresses work for the client that asked."""
    async with agent.client.get("/", headers={"Host": "localhost:1234"}) as response:
        assert (await response.json())["list"] == "http://localhost:1234/list-processes"


async def test_a_created_process_has_the_fields_of_the_seed(agent: Agent) -> None:
    """Create and list answer with the six fields that seed 002 prints; the details have those of its table, too."""
    agent.files.gate.clear()
    url = agent.app(f"web: {SLEEP}\n")
    # As in the example of seed 002: without a Content-Type of JSON.
    wanted = {"app": "myapp", "source_url": url, "process_type": "web", "node": "web.0"}
    async with agent.client.post("/create-process", data=json.dumps(wanted)) as response:
        created = await response.json()
        assert response.status == 201
    base = str(agent.client.make_url("")).rstrip("/")
    expected = {
        "app": "myapp",
        "attach": f"ws{base.removeprefix('http')}/attach-console/myapp.web.0",
        "delete": f"{base}/delete-process/myapp.web.0",
        "details": f"{base}/process-status/myapp.web.0",
        "slug": "myapp.web.0",
        "state": "pending",
    }
    assert created == expected
    async with agent.client.get("/list-processes") as response:
        [listed] = (await response.json())["processes"]
    assert listed.keys() == expected.keys()
    assert listed["slug"] == "myapp.web.0"
    agent.files.gate.set()
    details = await agent.become("myapp.web.0", "running")
    assert (details["node"], details["status"]) == ("web.0", expected["details"])


async def test_our_own_list_has_the_whole_status(agent: Agent) -> None:
    """Terminals and pages need one request for all processes."""
    status = await agent.run(SLEEP)
    async with agent.client.get("/api/v1/processes") as response:
        [listed] = (await response.json())["processes"]
    assert listed.keys() == status.keys()
    assert (listed["pid"], listed["node"]) == (status["pid"], "web.0")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_type_of_archive_runs(agent: Agent, kind: Any) -> None:
    """The type is detected by content, whatever the server calls it."""
    data = make_archive(kind, {"Procfile": "web: ./main one\n", "main": File("#!/bin/sh\necho $1; exec sleep 600\n")})
    url = agent.files.file("/source", data, content_type="text/html")
    await agent.create(url)
    status = await agent.become("app.web.0", "running")
    assert status["digest"] == hashlib.sha256(data).hexdigest()
    assert await lines(await agent.attach(tail=1), 1) == ["one"]


async def test_variables_override_each_other_in_the_documented_order(agent: Agent, base_port: int) -> None:
    """The request overrides the command, the command .env, and .env the defaults of the service."""
    env = "A=file\nB=file\nC=file\nD = with blanks  \n"
    command = "A=command B=command PORT_WAS=$PORT sh -c 'env | sort; echo the end; exec sleep 600'"
    await agent.create(agent.app(f"web: {command}\n", {".env": env}), env={"A": "request", "E": "é ß"})
    console = await agent.attach(tail=100)
    await agent.become("app.web.0", "running")
    found = dict([line.split("=", 1) async for line in _until(console, "the end")])
    assert {name: found[name] for name in "ABCDE"} == {
        "A": "request",
        "B": "command",
        "C": "file",
        "D": "with blanks",
        "E": "é ß",
    }
    assert found["PORT"] == found["PORT_WAS"] == str(base_port)
    assert found["PATH"].split(":") == os.environ["PATH"].split(":")
    assert set(found) <= {
        *"ABCDE",
        "PORT",
        "PORT_WAS",
        "PATH",
        "HOME",
        "LANG",
        "PYTHONUNBUFFERED",
        "PWD",
        "_",
        "SHLVL",
        "SMARTMOB_PYTHON",
    }


async def _until(console: Any, last: str) -> Any:
    while (line := await console.receive_str(timeout=SECONDS)) != last:
        yield line


async def test_names_of_variables_are_shown_and_values_are_not(agent: Agent) -> None:
    """Values may be secret."""
    status = await agent.run(SLEEP, env={"PASSWORD": "wonderland"})
    assert status["env"] == ["PASSWORD"]
    async with agent.client.get("/api/v1/processes") as response:
        assert "wonderland" not in await response.text()
    assert "wonderland" not in json.dumps(await agent.events())


async def test_an_address_is_shown_without_its_password(agent: Agent) -> None:
    """The download still uses the password."""
    url = agent.app(f"web: {SLEEP}\n").replace("http://", "http://me:wonderland@")
    created = await agent.create(url)
    assert "wonderland" not in json.dumps([created, await agent.status("app.web.0")])
    await agent.become("app.web.0", "running")
    [(_, headers)] = agent.files.requests
    assert headers["Authorization"].startswith("Basic ")


async def test_the_signature_of_a_source_is_shown_nowhere(agent: Agent, capfd: pytest.CaptureFixture[str]) -> None:
    """The status, the list, the events, the console and the log do not contain it, also after a failure."""
    for node, path in (("web.0", "/app.tar.gz"), ("web.1", "/missing.tar.gz")):
        agent.app(f"web: {SLEEP}\n")
        await agent.create(agent.files.url(path) + "?sig=s3cret&v=1#s3cret", node=node)
    await agent.become("app.web.0", "running")
    status = await agent.become("app.web.1", "download failure")
    assert status["source_url"] == agent.files.url("/missing.tar.gz") + "?sig=***&v=***"
    assert agent.files.queries[0] == "sig=s3cret&v=1"
    for address in (
        *("/list-processes", "/api/v1/processes", "/process-status/app.web.1", "/process-events"),
        *("/console/processes", "/console/processes/app.web.1", "/console/data/overview"),
    ):
        async with agent.client.get(address) as response:
            assert response.status == 200
            assert "s3cret" not in await response.text(), address
    captured = capfd.readouterr()
    assert "s3cret" not in captured.out + captured.err


async def test_the_download_has_the_request_id_of_the_create_request(agent: Agent) -> None:
    """The logs of both servers can be compared by it."""
    url = agent.app(f"web: {SLEEP}\n")
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": url}
    async with agent.client.post("/create-process", json=wanted, headers={"X-Request-Id": "trace-me"}) as response:
        assert response.status == 201
    await agent.become("app.web.0", "running")
    assert agent.files.requests[0][1]["X-Request-Id"] == "trace-me"


async def test_each_node_gets_the_documented_port(agent: Agent, base_port: int) -> None:
    """The port follows from the type and the number of the node, and the status shows it."""
    url = agent.app(f"web: {SLEEP}\nworker: {SLEEP}\n")
    for process_type, node in (("web", "web.0"), ("web", "web.3"), ("worker", "worker.1"), ("worker", "second.1")):
        await agent.create(url, process_type, node)
    for slug, offset in (("web.0", 0), ("web.3", 3), ("worker.1", 101), ("second.1", 102)):
        status = await agent.become(f"app.{slug}", "running")
        assert status["port"] - base_port in ({offset} if offset < 100 else {101, 102})


async def test_a_second_process_of_the_same_slug_is_refused(agent: Agent) -> None:
    """The error says what to do; after a delete the slug is free again."""
    await agent.run(SLEEP)
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": agent.files.url("/app.tar.gz")}
    async with agent.client.post("/create-process", json=wanted) as response:
        problem = await response.json(content_type=None)
    assert response.status == 409
    assert "delete it first" in problem["detail"]
    assert await agent.post("delete", "app.web.0") == {}
    await agent.create(wanted["source_url"])
    await agent.become("app.web.0", "running")


async def test_of_two_concurrent_creates_of_a_slug_one_succeeds(agent: Agent) -> None:
    """The other one is a conflict."""
    url = agent.app(f"web: {SLEEP}\n")
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": url}
    answers = await asyncio.gather(*(agent.client.post("/create-process", json=wanted) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


BAD = {
    "no JSON": b"{",
    "a list": b"[]",
    "no app": {"app": None},
    "a slash": {"app": "a/b"},
    "an empty node": {"node": ""},
    "a control character": {"node": "a\n"},
    "no text": {"process_type": 5},
    "an address of a file": {"source_url": "file:///etc/passwd"},
    "no address": {"source_url": "somewhere"},
    "an address without its password, as it is shown": {"source_url": "http://***@host/a"},
    "an address without its signature, as it is shown": {"source_url": "http://host/a?sig=***"},
    "env is a list": {"env": ["A=1"]},
    "env with a number": {"env": {"A": 1}},
    "env with a bad name": {"env": {"A=B": "1"}},
    "env with an empty name": {"env": {"": "1"}},
    "env with NUL": {"env": {"A": "\0"}},
    "negative grace": {"grace": -1},
    "endless grace": {"grace": 1e9},
}


@each("bad", BAD.values())
async def test_an_invalid_create_request_creates_nothing(agent: Agent, bad: Any) -> None:
    """The error names the field."""
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": "http://127.0.0.1:1/"}
    data = bad if isinstance(bad, bytes) else json.dumps({**wanted, **bad})
    async with agent.client.post("/create-process", data=data) as response:
        problem = await response.json(content_type=None)
    assert response.status == 400
    assert isinstance(bad, bytes) or next(iter(bad)) in problem["detail"]
    async with agent.client.get("/list-processes") as response:
        assert await response.json() == {"processes": []}


async def test_a_prompt_reaches_a_client_that_asks_for_partial_lines(agent: Agent, tmp_path: Path) -> None:
    """A console of smartmob-agent gets the line when it is complete."""
    await agent.run(
        "printf 'Name: '; while [ ! -e $GO ]; do sleep 0.01; done; echo me; exec sleep 600",
        env={"GO": f"{tmp_path}/go"},
    )
    console, partial = await agent.attach(), await agent.attach(partial=1, tail=10)
    assert await lines(partial, 1) == ["Name: "]
    (tmp_path / "go").touch()
    assert await lines(partial, 1) == ["me\n"]
    assert await lines(console, 1) == ["Name: me"]


@each("verb", ["delete", "stop", "restart"])
async def test_an_unknown_process_is_not_found(agent: Agent, verb: str) -> None:
    """The answer is 404 for each route."""
    problem = await agent.post(verb, "app.web.9", status=404)
    assert problem["detail"] == "there is no program app.web.9"
    assert (await agent.client.get("/process-status/app.web.9")).status == 404
    assert (await agent.client.get("/attach-console/app.web.9")).status == 404
    await agent.post("signal", "app.web.9", {"signal": "TERM"}, status=404)


async def test_delete_answers_when_all_descendants_have_ended(agent: Agent, tmp_path: Any) -> None:
    """The descendants of this process ignore all signals that can be ignored."""
    await agent.run(f"exec python3 family.py {tmp_path}/pids", {"family.py": FAMILY}, grace=0.2)
    pids = await family(tmp_path / "pids")
    assert len(living(pids)) == 4
    await agent.post("delete", "app.web.0")
    assert living(pids) == []
    assert (await agent.client.get("/process-status/app.web.0")).status == 404


async def test_delete_needs_no_body(agent: Agent) -> None:
    """A request without a body is accepted."""
    await agent.run(SLEEP)
    async with agent.client.post("/delete-process/app.web.0") as response:
        assert (response.status, await response.json()) == (200, {})


async def test_two_concurrent_deletes_both_succeed(agent: Agent) -> None:
    """The process is deleted when either of them is answered."""
    await agent.run("trap 'sleep 0.2; exit' TERM; while :; do sleep 0.01; done")
    answers = await asyncio.gather(*(agent.client.post("/delete-process/app.web.0") for _ in range(5)))
    assert {answer.status for answer in answers} == {200}


async def test_a_deleted_process_is_not_restarted(agent: Agent) -> None:
    """Of a delete and a restart at the same time, the restart comes first or is refused."""
    rounds = 5
    for _ in range(rounds):
        await agent.run(SLEEP)
        await agent.post("stop", "app.web.0")
        await asyncio.gather(*(agent.status("app.web.0") for _ in range(2)))  # so that two connections are open
        deleted, restarted = await asyncio.gather(
            agent.client.post("/delete-process/app.web.0"), agent.client.post("/restart-process/app.web.0")
        )
        assert deleted.status == 200
        assert restarted.status in (200, 404, 409)
    await agent.run(SLEEP)

    async def last_is_recorded() -> list[str] | None:
        kinds = [event["kind"] for event in await agent.events("app.web.0")]
        return kinds if kinds.count("created") == rounds + 1 and kinds[-1] == "started" else None

    # A start after the delete would fail, because the working copy is gone.
    assert "failed" not in await until(last_is_recorded)


async def test_a_stop_that_a_restart_overtakes_is_a_conflict(agent: Agent) -> None:
    """The answer says what happened; the process ends and is started again."""
    stubborn_at_first = f"mkdir once || {SLEEP}; trap '' TERM; echo ready; while :; do sleep 0.05; done"
    before = await agent.run(stubborn_at_first, grace=60)
    assert await lines(await agent.attach(tail=1), 1) == ["ready"]
    stopping = [asyncio.ensure_future(agent.post("stop", "app.web.0", status=409)) for _ in range(2)]
    await agent.become("app.web.0", "stopping")
    await agent.post("restart", "app.web.0")
    for answer in await asyncio.gather(*stopping):
        assert "started again" in answer["detail"]
    await agent.post("signal", "app.web.0", {"signal": "KILL"})
    assert (await agent.become("app.web.0", "running"))["pid"] != before["pid"]


async def test_a_slow_delete_does_not_delay_other_processes(agent: Agent) -> None:
    """Operations on one process never wait for another."""
    await agent.run("trap '' TERM; echo ready; while :; do sleep 0.05; done", grace=30)
    assert await lines(await agent.attach(tail=1), 1) == ["ready"]
    deleting = asyncio.ensure_future(agent.client.post("/delete-process/app.web.0"))
    await agent.become("app.web.0", "stopping")
    await agent.create(agent.app(f"web: {SLEEP}\n", path="/other.tar.gz"), node="web.1")
    await agent.become("app.web.1", "running")
    await agent.post("restart", "app.web.1")
    await agent.post("delete", "app.web.1")
    await agent.post("restart", "app.web.0", status=409)
    assert not deleting.done()
    await agent.post("signal", "app.web.0", {"signal": "KILL"})
    assert (await deleting).status == 200


async def test_a_process_that_is_not_renewed_is_deleted(agent: Agent) -> None:
    """Its event says why; renewing needs no lease, and answers with the status."""
    source = agent.app(f"web: {SLEEP}\n")
    await agent.create(source, node="web.0")
    assert (await agent.post("renew", "app.web.0"))["lease"] is None
    await agent.create(source, node="web.1", lease=3600)
    status = await agent.status("app.web.1")
    assert (status["lease"], status["renew"].partition("/renew-process/")[2]) == (3600, "app.web.1")
    assert (await agent.post("renew", "app.web.1"))["slug"] == "app.web.1"
    await agent.create(source, node="web.2", lease=1)

    async def deletions() -> list[Any]:
        # A program that runs is stopped after that, which has events of its own.
        return [event["detail"] for event in await agent.events("app.web.2") if event["kind"] == "deleted"]

    assert await until(deletions) == [{"text": "not renewed for 1 s"}]

    async def is_gone() -> bool:
        # Until its program has ended, it is being deleted.
        async with agent.client.get("/api/v1/processes") as response:
            slugs = [status["slug"] for status in (await response.json())["processes"]]
        return slugs == ["app.web.0", "app.web.1"]

    await until(is_gone)
    await agent.post("renew", "app.web.2", status=404)


async def test_a_stopped_process_stays_in_the_list_and_can_be_restarted(agent: Agent) -> None:
    """Its definition and its folder are kept."""
    before = await agent.run(SLEEP)
    stopped = await agent.post("stop", "app.web.0")
    assert (stopped["state"], stopped["pid"], stopped["exit_signal"]) == ("stopped", None, 15)
    assert living([before["pid"]]) == []
    assert (await agent.post("restart", "app.web.0"))["state"] in ("pending", "running")
    after = await agent.become("app.web.0", "running")
    assert after["pid"] != before["pid"]


async def test_a_restart_replaces_a_running_process(agent: Agent) -> None:
    """It answers at once, and the restart is counted."""
    before = await agent.run(SLEEP)
    await agent.post("restart", "app.web.0")

    async def replaced() -> bool:
        status = await agent.status("app.web.0")
        return status["pid"] not in (None, before["pid"]) and status["restarts"] == 1

    await until(replaced)


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "usr1", 10, "10"])
async def test_signals_are_sent_by_name_and_number(agent: Agent, name: Any) -> None:
    """The whole process group gets the signal."""
    await agent.run("trap 'echo got it' USR1; echo ready; while :; do sleep 0.01; done")
    console = await agent.attach(tail=1)
    assert await lines(console, 1) == ["ready"]
    await agent.post("signal", "app.web.0", {"signal": name})
    # The shell may first report that the signal ended `sleep`, which is in the same group.
    await until_line(console, "got it")


@pytest.mark.parametrize("name", ["NONSENSE", 0, 99, -1, ""])
async def test_an_unknown_signal_is_refused(agent: Agent, name: Any) -> None:
    """The error has examples of valid ones."""
    await agent.run(SLEEP)
    assert "USR1" in (await agent.post("signal", "app.web.0", {"signal": name}, status=400))["detail"]


async def test_a_signal_needs_a_running_process(agent: Agent) -> None:
    """The error names the state of the process."""
    await agent.run(SLEEP)
    await agent.post("stop", "app.web.0")
    problem = await agent.post("signal", "app.web.0", {"signal": "HUP"}, status=409)
    assert "it is stopped" in problem["detail"]


async def test_a_process_can_be_created_from_an_uploaded_archive(agent: Agent) -> None:
    """Its address works as a source, and clients can download it."""
    data = make_archive("zip", {"Procfile": f"web: {SLEEP}\n"})
    async with agent.client.post("/upload-archive", data=data) as response:
        uploaded = await response.json()
    assert response.status == 201
    assert (uploaded["digest"], uploaded["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    async with agent.client.session.get(uploaded["source_url"]) as response:
        assert await response.read() == data
    await agent.create(uploaded["source_url"])
    assert (await agent.status("app.web.0"))["digest"] == uploaded["digest"]
    await agent.become("app.web.0", "running")
    assert (await agent.client.get("/archives/nothing")).status == 404


async def test_an_upload_that_is_too_large_is_refused(agent_with: Any) -> None:
    """It is refused while it is received, and nothing is kept."""
    agent = await agent_with(processes=ProcessesSettings(max_archive=10_000))
    async with agent.client.post("/upload-archive", data=b"x" * 20_000) as response:
        problem = await response.json(content_type=None)
    assert response.status == 413
    assert "10000 bytes" in problem["detail"]


async def test_events_are_listed_in_order_by_process_time_and_page(agent: Agent) -> None:
    """They stay when the process has been deleted."""
    await agent.run("sleep 0.2; exit 3")
    await agent.become("app.web.0", "backoff")
    await agent.post("delete", "app.web.0")

    await until(lambda: _has(agent, "deleted"))
    events = await agent.events("app.web.0")
    kinds = [event["kind"] for event in events]
    assert kinds[:5] == ["created", "started", "exited", "restarted", "exited"]
    assert "deleted" in kinds
    assert events[2]["detail"]["status"] == 3
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert await agent.events("app.web.1") == []

    found, after = [], None
    while True:
        params = {"limit": "2", **({"after": after} if after else {})}
        async with agent.client.get("/process-events", params=params) as response:
            page = await response.json()
        found += page["events"]
        after = page["next"]
        if after is None:
            break
    assert found == await agent.events()

    async with agent.client.get("/process-events", params={"since": events[3]["at"]}) as response:
        assert (await response.json())["events"][0] == events[3]
    async with agent.client.get("/process-events", params={"until": events[1]["at"]}) as response:
        assert (await response.json())["events"] == events[:1]


async def _has(agent: Agent, kind: str) -> bool:
    return kind in [event["kind"] for event in await agent.events("app.web.0")]


@each("query", [{"since": "yesterday"}, {"until": "2026-01-01"}, {"after": "x"}, {"limit": "0"}, {"limit": "many"}])
async def test_invalid_arguments_of_events_are_refused(agent: Agent, query: dict[str, str]) -> None:
    """The error names the argument."""
    async with agent.client.get("/process-events", params=query) as response:
        problem = await response.json(content_type=None)
    assert response.status == 400
    assert next(iter(query)) in problem["detail"] or "before" in problem["detail"]


async def test_names_may_contain_any_letters(agent: Agent) -> None:
    """Addresses are escaped."""
    url = agent.app(f"web: {SLEEP}\n")
    status = await agent.create(url, node="wêb 1?#%", app="größe")
    async with agent.client.session.get(status["details"]) as response:
        assert (await response.json())["slug"] == "größe.wêb 1?#%"
    await until(lambda: _runs(agent, status["details"]))
    async with agent.client.session.post(status["delete"]) as response:
        assert response.status == 200


async def _runs(agent: Agent, url: str) -> bool:
    async with agent.client.session.get(URL(url, encoded=True)) as response:
        return bool((await response.json())["state"] == "running")
