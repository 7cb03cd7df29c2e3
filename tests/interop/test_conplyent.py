"""The unmodified client of conplyent against the gateway: every command, listeners, input, transfer and errors."""

from __future__ import annotations

import asyncio
import getpass
import inspect
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import CommandClient
from smartmob.client.connection import ClientConnection
from smartmob.commands.builtin import COMMANDS
from smartmob.commands.conplyent.gateway import ConplyentGateway
from smartmob.commands.events import CloseRequested
from smartmob.commands.registry import Registry
from smartmob.feature_settings import ConplyentSettings
from tests.commands.features import RunningFeature, feature
from tests.interop import environments
from tests.interop.children import run_script
from tests.waiting import SECONDS

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

HERE = Path(__file__).parent


def step(name: str, *args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return a step for the driver."""
    return name, args, kwargs


FULL = "Non-Empty Directory... Pass recursive to recursivly remove directory"  # codespell:ignore recursivly
CONNECT = step("connect", timeout=SECONDS)


class ConplyentClient:
    """Runs conplyent's client against a gateway."""

    def __init__(self, commands: RunningFeature, gateway: ConplyentGateway, python: Path, home: Path) -> None:
        self.commands = commands
        self._gateway = gateway
        self._python = python
        self._home = home

    async def run(self, *steps: Any) -> list[Any]:
        """Return the results of steps that one process of the client takes."""
        document = {"port": self._gateway.port, "steps": [CONNECT, *steps]}
        found: list[Any] = await run_script(self._python, HERE / "conplyent_driver.py", self._home, document)
        assert found[0] is None, found[0]
        return found[1:]

    async def run_scripts(self, folder: Path) -> list[Any]:
        """Return what the scripts in `conplyent_scripts` have seen, which work in a folder."""
        document = {"port": self._gateway.port, "folder": str(folder)}
        found: list[Any] = await run_script(self._python, HERE / "conplyent_scripts.py", self._home, document)
        return found


@pytest.fixture(name="client")
async def _client(database_url: str, tmp_path: Path) -> AsyncIterator[ConplyentClient]:
    """Return the runner of conplyent's client."""
    python = await asyncio.to_thread(environments.python_with, environments.CONPLYENT)
    async with feature(database_url, tmp_path, reboot="/bin/true", shutdown="/bin/true now") as commands:
        gateway = ConplyentGateway(commands.service, ConplyentSettings(port=0), commands.tasks)
        await gateway.start()
        yield ConplyentClient(commands, gateway, python, tmp_path)
        gateway.close()


async def test_every_quick_command_works_as_on_conplyents_server(client: ConplyentClient) -> None:
    """The messages are the same."""
    home = client.commands.home
    steps = [
        (step("heartbeat", timeout=SECONDS), True),
        (step("cd", str(home)), [str(home)]),
        (step("cwd"), [str(home)]),
        (step("mkdir", "a"), ["Created directory: a"]),
        (step("mkdir", path="a"), ["Directory or File a already exists"]),
        (step("mkdirs", "b/c", exist_ok=True), ["Created directory: b/c"]),
        (step("touch", "b/t"), ["Touched b/t"]),
        (step("write", "b/f", "one"), ["Finished writing data to b/f"]),
        (step("write", "b/f", " two", append=True), ["Finished writing data to b/f"]),
        (step("rdfile", "b/f"), ["Contents of b/f", {"bytes": b"one two".hex()}]),
        (step("ls", str(home / "b")), [f"Listing of Directory {home / 'b'}:\n\nd c\nf f\nf t"]),
        (step("rm", "b"), [FULL]),
        (step("rm", "b", recursive=True), ["Removed directory b"]),
        (step("jobs"), ["No jobs running."]),
        (step("is_alive", 1), [False]),
        (step("os_info"), ["linux"]),
        (step("user_name"), [getpass.getuser()]),
        (step("get_time"), [{"class": "datetime"}]),
        (step("reboot"), ["Requesting os to reboot"]),
        (step("shutdown"), ["Requesting os to shutdown"]),
    ]
    assert await client.run(*(asked for asked, _ in steps)) == [answer for _, answer in steps]
    methods = (await client.run(step("server_methods")))[0]
    assert {"exec", "send_input", "kill", "close_server", "transfer", "sleep"} <= set(methods)


async def test_signatures_are_those_of_conplyent(tmp_path: Path) -> None:
    """Names, order and defaults of the parameters of each of its own commands and client method are the same here."""
    python = await asyncio.to_thread(environments.python_with, environments.CONPLYENT)
    own = await run_script(python, HERE / "conplyent_signatures.py", tmp_path, {})
    ours = {
        command.name: [[p.name] if p.required else [p.name, p.default] for p in command.description.parameters]
        for command in Registry(COMMANDS)
    }
    assert len(own["commands"]) == 21
    for name, parameters in own["commands"].items():
        assert ours[name][: len(parameters)] == parameters, name
        assert all(len(further) == 2 for further in ours[name][len(parameters) :]), name
    for kind in (ClientConnection, CommandClient):
        for name, parameters in own["methods"].items():
            found = list(inspect.signature(getattr(kind, name)).parameters.values())[1:]
            plain = [p for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
            assert [[p.name] if p.default is p.empty else [p.name, p.default] for p in plain] == parameters, name


async def test_errors_are_raised_or_returned_as_messages(client: ConplyentClient) -> None:
    """`raise_error` decides."""
    found = await client.run(
        step("cd", "/no/such", raise_error=True),
        step("ls", "/no/such", raise_error=True),
        step("mkdirs", "/", raise_error=True),
        step("exec", ["/no/such"], raise_error=True),
        step("cd", 5, raise_error=True),
        step("sleep", raise_error=True),
        step("object"),
        step("unknown"),
        step("cd", "/no/such"),
        step("cwd", max_interval=20),
    )
    assert [given.get("raised") for given in found[:8]] == [
        "FileNotFoundError",
        "ValueError",
        "FileExistsError",
        "FileNotFoundError",
        "TypeError",
        "NotImplementedError",
        "TypeError",
        "LookupError",
    ]
    assert "/no/such" in found[0]["text"]
    assert found[8][0]["error"] == "FileNotFoundError"
    assert isinstance(found[9][0], str)


async def test_listeners_get_output_input_and_exit_codes(client: ConplyentClient) -> None:
    """Several jobs run at a time, and one is killed."""
    found = await client.run(
        step("begin", "cat", "exec", ["cat"]),
        step("next", "cat"),
        step("begin", "sh", "exec", "echo one; exit 3"),
        step("on", "send_input", "cat", "hello"),
        step("next", "cat"),
        step("on", "is_alive", "cat"),
        step("rest", "sh"),
        step("on", "kill", "cat"),
        step("rest", "cat"),
        step("on", "is_alive", "cat"),
        step("on", "kill", "cat"),
    )
    assert found == [
        True,
        "exec (['cat'],) {}",
        True,
        [found[3][0]],
        "hello\n",
        [True],
        [["exec ('echo one; exit 3',) {}", "one\n"], True, 3],
        [found[7][0]],
        [[], True, -15],
        [False],
        ["Job does not exist or has already completed..."],
    ]
    assert found[3][0].startswith("Sent value to job ")
    assert found[7][0].startswith("Sent kill command to job ")


async def test_a_prompt_arrives_before_its_line_ends_where_the_client_asks(client: ConplyentClient) -> None:
    """Its own client passes `partial` on; -1 is a hangup and a bad parameter, as on conplyent's own server."""
    found = await client.run(
        step("begin", "job", "exec", "printf 'name? '; read x; echo $x", partial=True),
        step("next", "job"),
        step("next", "job"),
        step("on", "send_input", "job", "me"),
        step("rest", "job"),
        step("begin", "hangup", "exec", "kill -HUP $$"),
        step("rest", "hangup"),
        step("begin", "bad", "ls", "/no/such"),
        step("rest", "bad"),
    )
    assert found[2] == "name? "
    assert found[4] == [["me\n"], True, 0]
    assert found[6][1:] == found[8][1:] == [True, -1]


async def test_every_line_of_fast_output_arrives(client: ConplyentClient) -> None:
    """Twenty thousand lines come in order; conplyent's server loses most of them."""
    found = await client.run(step("begin", "seq", "exec", ["seq", "20000"]), step("count", "seq"))
    assert found == [True, [20_001, "20000\n"]]


async def test_a_file_is_transferred(client: ConplyentClient, tmp_path: Path) -> None:
    """Its folders are created."""
    (tmp_path / "src").write_bytes(data := os.urandom(200_000))
    await client.run(step("transfer", str(tmp_path / "src"), str(tmp_path / "new" / "dest"), chunk=16_384))
    assert (tmp_path / "new" / "dest").read_bytes() == data


async def test_a_client_comes_back_to_its_job(client: ConplyentClient) -> None:
    """The job still runs, and its output is kept."""
    found = await client.run(
        step("begin", "job", "exec", "echo one; read x; echo two"),
        step("disconnect"),
        CONNECT,
        step("cwd", max_interval=20),
        step("on", "is_alive", "job"),
        step("on", "send_input", "job", "x"),
    )
    assert found[2] is None
    assert found[4] == [True]
    (job,) = await client.commands.service.jobs.page(2**62, None, 1)
    reply = await client.commands.call("attach", job.id)
    assert reply.data == b"one\ntwo\n"


async def test_several_clients_are_served_at_a_time(client: ConplyentClient) -> None:
    """libzmq's own PAIR serves one only."""
    folders = [client.commands.home / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    found = await asyncio.gather(
        *(client.run(step("cd", str(folder)), step("exec", ["pwd"]), step("cwd")) for folder in folders)
    )
    assert found == [[[str(folder)], [f"{folder}\n"], [str(folder)]] for folder in folders]


async def test_close_server_ends_the_jobs_and_asks_for_the_end_of_the_service(client: ConplyentClient) -> None:
    """Each job is named."""
    asked: list[Any] = []
    client.commands.bus.subscribe(CloseRequested, asked.append)
    found = await client.run(step("begin", "job", "exec", ["sleep", "600"]), step("close_server"))

    (killed, closing) = found[1]
    assert (killed.split()[0], closing) == ("Killing", "Closing Server")
    assert len(asked) == 1


async def test_scripts_of_its_users_run_unchanged(client: ConplyentClient) -> None:
    """A tour, a runner of tests, a sender of files and a prompt see what they were written for."""
    home = client.commands.home
    tour, runner, sender, prompt = await client.run_scripts(home)
    assert tour == [
        ["FileNotFoundError"],
        "no folder",
        "not empty",
        [True],
        ["then two\n", True, 0],
        [[False], ["Job does not exist or has already completed..."]],
        True,
    ]
    assert runner == [[["begin\n", "end\n"], True, 0], [["begin\n", "end\n"], True, 3]]
    assert sender == [True, True, ["Removed file sent.py"], True]
    assert prompt == [
        [
            [str(home)],
            ["Created directory: typed"],
            ["Listing of Directory typed:\n\n"],
            ["Removed directory typed"],
            *([["two words\n"], [False]]),
        ],
        *([[["two words\n"], [False]]] * 2),
    ]
