"""The options --on, --parallel and --fail-fast: commands on one and on several nodes that have joined."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smartmob.cli.node_selection import SelectedMachine, Selection
from smartmob.cli.on_nodes import _Plan
from smartmob.errors import NotFound, RemoteError
from tests.acceptance.commands import run
from tests.nodes.conftest import TOKEN, AddNode, Lab, _add_node, _lab  # noqa: F401 - fixtures
from tests.waiting import until


@pytest.fixture(name="on")
def _on(lab: Lab) -> Any:
    """Return the caller of commands with the address of a service that nodes join: exit code, output, errors."""
    return partial(run, SMARTMOB_SERVER=lab.url, SMARTMOB_TOKEN=TOKEN)


async def test_a_command_runs_on_one_node_or_on_several(lab: Lab, add_node: AddNode, on: Any, tmp_path: Path) -> None:
    """Output, errors, exit codes, JSON and a line for each machine, by name, label and all; a drained node works on."""
    for name in ("a", "b", "c"):
        await add_node(name)
    async with lab.client.patch(
        "/api/v1/nodes/c", json={"labels": {"rack": "8"}}, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as answer:
        assert answer.status == 200
    # exec: one, several, all
    assert await on("exec", "--on", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 5") == (5, "out\n", "err\n")
    code, output, errors = await on("exec", "--on", "a,b", "echo out; echo err >&2; exit 5")
    assert (code, sorted(output.splitlines())) == (1, ["a | out", "b | out"])
    assert sorted(errors.splitlines()) == [
        "2 machines: 0 ok, 2 failed", "a  exit code 5", "a | err", "b  exit code 5", "b | err",
    ]  # fmt: skip
    for selected, names in (("all", "abc"), ("label=rack=8", "c"), ("gpu", ""), ("rack=7,label=gpu", "ab")):
        code, output, errors = await on("exec", "--on", selected, "echo x")
        if not names:
            assert (code, output) == (1, "") and "there is no node gpu, and no host of this name" in errors
            continue
        assert (code, sorted(output.splitlines())) == (0, [f"{name} | x" for name in names])
        assert f"{len(names)} machine" in errors
    code, output, errors = await on("exec", "--on", "label=gpus", "echo x")
    assert (code, errors) == (1, "smartmob: no node matches --on label=gpus; did you mean gpu?\n")
    # grouped, and as JSON
    code, output, errors = await on("jobs", "--on", "a", "--on", "rack=8")
    assert code == 0 and output.startswith("a:\nJobs\n") and "\nc:\nJobs\n" in output
    assert errors == "a  ok\nc  ok\n2 machines: 2 ok, 0 failed\n"
    code, output, _ = await on("ps", "--on", "all", "--json")
    ended = {"ok": True, "code": 0, "error": None, "result": []}
    assert (code, json.loads(output)) == (0, dict.fromkeys("abc", ended))
    code, output, _ = await on("doctor", "--on", "rack=7", "--json")
    checked = json.loads(output)
    assert code == 0
    assert list(checked) == ["a", "b"]
    assert {found["level"] for each in checked.values() for found in each} == {"good"}
    # copies to all and back
    (tmp_path / "given").write_text("text\n")
    code, _, errors = await on("cp", str(tmp_path / "given"), f":{tmp_path}/copied", "--on", "label=rack")
    assert (code, (tmp_path / "copied").read_text()) == (0, "text\n")
    code, _, errors = await on("cp", f":{tmp_path}/copied", str(tmp_path / "back"), "--on", "all")
    assert (code, [(tmp_path / "back" / name / "copied").read_text() for name in "abc"]) == (0, ["text\n"] * 3)
    code, _, errors = await on("cp", str(tmp_path / "given"), f"b:{tmp_path}/by-name")
    assert (code, (tmp_path / "by-name").read_text()) == (0, "text\n")
    # programs: created, followed, stopped
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Procfile").write_text("web: echo hello; exec sleep 600\n")
    assert (await on("nodes", "drain", "b"))[0] == 0
    code, _, errors = await on("run", str(folder), "--on", "all", "--scale", "web=1")
    assert (code, "on several machines say how many run on each: web=1/node" in errors) == (2, True)
    code, _, errors = await on("run", str(folder), "--on", "all", "--scale", "web=1/node")
    assert code == 0, errors
    assert "b  left out: drained" in errors and "3 machines: 2 ok, 0 failed, 1 drained" in errors
    code, output, _ = await on("logs", "app", "--on", "label=rack", "--on", "b")
    assert (code, output) == (1, "a:\nhello\nc:\nhello\n")
    code, _, errors = await on("stop", "app", "--on", "a,c", "--remove")
    assert code == 0 and "a | app.web.0 stopped and removed" in errors


async def test_a_node_that_is_away_has_failed(lab: Lab, add_node: AddNode, on: Any, tmp_path: Path) -> None:
    """It is told, with --fail-fast nothing else begins, and a deployment begins no other batch."""
    await add_node("b")
    async with lab.client.post(
        "/api/v1/nodes/join", json={"name": "a"}, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as answer:
        assert answer.status == 201
    code, output, errors = await on("exec", "--on", "all", "echo x")
    assert (code, output) == (1, "b | x\n")
    assert errors == "a  not connected, never seen\nb  ok\n2 machines: 1 ok, 1 failed\n"
    code, output, errors = await on("exec", "--on", "all", "--fail-fast", "--parallel", "1", "echo x")
    assert (code, output) == (1, "")
    assert "b  not started\n2 machines: 0 ok, 1 failed, 1 not started\n" in errors
    (tmp_path / "Procfile").write_text("web: sleep 600\n")
    code, _, errors = await on("run", str(tmp_path), "--app", "x", "--on", "all", "--batch", "1")
    assert code == 1 and "b  not started" in errors
    code, _, errors = await on("run", str(tmp_path), "--app", "x", "--on", "all", "--batch", "1", "--max-failures", "1")
    assert code == 1 and "b  ok" in errors
    code, _, errors = await on("exec", "--on", "a", "echo x")
    assert code == 3 and "the node a is not connected" in errors
    await _check_what_is_elsewhere(lab, on)


async def test_a_batch_leaves_out_what_was_drained_meanwhile() -> None:
    """So it is with a node that has lost the label; when the service cannot be asked, the batch stays as it is."""
    first, second = (SelectedMachine(name, f"http://127.0.0.1:1/{name}") for name in "ab")
    answers: Iterator[Selection | Exception] = iter(
        [Selection((first,), single=False), NotFound("no node matches"), RemoteError("away")]
    )

    async def select_again() -> Selection:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    plan = _Plan(1, fail_fast=False, live=False, as_json=False, select_again=select_again)
    assert [await plan.still_selected([first, second]) for _ in range(3)] == [[first], [], [first, second]]
    assert plan.left_out == ["b", "a", "b"]


async def _check_what_is_elsewhere(lab: Lab, on: Any) -> None:
    """A program or job that the service itself does not have is found on its node, and the other way round."""
    for asked in ("program=x", "job=1"):

        async def told(asked: str = asked) -> bool:
            found: list[Any] = (await lab.get(f"/api/v1/machines?{asked}"))["machines"]
            return found == [{"name": "b", "connected": True}]

        await until(told)
    for words in ("logs x", "attach x.web.0", "stop x", "restart x.web.0", "output 1", "kill 1"):
        code, _, errors = await on(*words.split())
        assert code == 1
        assert errors.endswith(f"; it is on b: `smartmob {words} --on b`\n"), errors
    assert (await on("output", "1", "--on", "b"))[1] == "x\n"
    assert "lists them" in (await on("output", "99"))[2]
    assert [(await on("exec", "true"))[0] for _ in range(2)] == [0, 0]
    assert (await on("output", "2", "--on", "b"))[2].endswith("; it is on the service itself: `smartmob output 2`\n")
    ended = await on("stop", "y", "--on", "b")
    assert ended[0] == 1 and "it is on" not in ended[2]
    code, _, errors = await on("output", "1", "--on", "a")
    assert code == 3 and "the node a is not connected" in errors
    async with lab.client.get("/api/v1/machines", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 400
