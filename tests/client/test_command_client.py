"""The client for asyncio."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest

from smartmob.client.command_client import CommandClient, connect
from smartmob.client.failures import ClientTimeout
from tests.waiting import SECONDS, until


async def test_lines_as_they_come(lab: CommandClient) -> None:
    """Each line is there before the next one is written."""
    listener = await lab.exec("echo one; read x; echo $x; exit 3")
    found = []
    async for line in listener:
        found.append(line)
        if len(found) == 1:
            assert not listener.done
            await lab.send_input(listener.id, "two")
    assert (found, listener.exit_code, listener.done) == (["one\n", "two\n"], 3, True)


async def test_a_quick_command_returns_the_list_of_its_messages(lab: CommandClient, tmp_path: Path) -> None:
    """They give the list of what they say; a listener comes when it is asked for."""
    assert await lab.cwd() == [str(tmp_path)]
    listener = await lab.cwd(complete=False)
    assert await listener.output() == [str(tmp_path)]
    assert await lab.exec("echo hi", complete=True) == ["hi\n"]


async def test_an_error_is_the_last_message_or_raised(lab: CommandClient) -> None:
    """An error is the last message, and raised when that is asked for."""
    (error,) = await lab.cd("/no/such")
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="/no/such"):
        await lab.cd("/no/such", raise_error=True)
    with pytest.raises(ValueError, match="No such directory"):
        await lab.ls("/no/such", raise_error=True)
    assert await lab.exec("exit 1", complete=True, raise_error=True) == []


async def test_the_job_continues_after_a_timeout(lab: CommandClient) -> None:
    """For the whole command, and between two messages; the job goes on."""
    with pytest.raises(ClientTimeout, match="exec did not end within"):
        await lab.exec("sleep 600", complete=True, timeout=0.2)
    listener = await lab.exec("echo one; sleep 600")
    assert await listener.next() == "one\n"
    listener.max_interval = 0.2
    with pytest.raises(ClientTimeout, match=r"silent for 0\.2 s"):
        await listener.next()
    assert await lab.is_alive(listener.id) == [True]


async def test_the_commands_of_the_server_are_methods(lab: CommandClient) -> None:
    """The server's commands are methods with signature and documentation; others do not exist."""
    assert "exec" in lab.server_methods()
    assert "cmd" in inspect.signature(lab.exec).parameters
    assert (lab.exec.__doc__ or "").startswith("Run a program")
    with pytest.raises(AttributeError, match="no command nothing"):
        _ = lab.nothing
    with pytest.raises(AttributeError, match="become methods by connect"):
        _ = connect("http://127.0.0.1:1").exec


async def test_another_client_listens_to_a_job_from_any_byte(lab: CommandClient, client: Any) -> None:
    """Another client listens to a job from any byte on, while it runs and afterwards."""
    listener = await lab.exec("echo one; read x; echo two")
    assert await listener.next() == "one\n"
    async with connect(f"http://127.0.0.1:{client.server.port}") as other:
        watcher = await other.attach(listener.id, 2)
        assert await watcher.next() == "e\n"
        await lab.send_input(listener.id, "x")
        assert await watcher.output() == ["two\n"]
        assert await (await other.attach(listener.id)).output() == ["one\n", "two\n"]


async def test_binary_output_is_unchanged(lab: CommandClient) -> None:
    """Bytes come as they are."""
    listener = await lab.exec(["head", "-c", "3000000", "/dev/urandom"], binary=True)
    assert sum([len(data) async for data in listener]) == 3_000_000


async def test_bytes_to_a_command(lab: CommandClient) -> None:
    """Input of any size goes to a program at its pace."""
    listener = await lab.exec(["wc", "-c"])
    data = os.urandom(5_000_000)
    await listener.write(data)
    listener.end_input()
    assert await listener.output() == ["5000000\n"]


async def test_unread_output_stays_on_the_server(lab: CommandClient, client: Any) -> None:
    """Output that a client does not read waits on the disk of the server."""
    listener = await lab.exec(["head", "-c", "50000000", "/dev/zero"], binary=True)
    await until(lambda: len(listener._held) >= 4)
    async with connect(f"http://127.0.0.1:{client.server.port}") as other:
        await until(lambda: other.is_alive(listener.id))
        assert await other.cwd()
    assert sum(len(data) for data, _ in listener._held) <= 1024 * 1024
    assert sum([len(data) async for data in listener]) == 50_000_000


async def test_two_hundred_jobs_share_a_connection(lab: CommandClient) -> None:
    """Two hundred jobs on one connection."""
    listeners = [lab.start("exec", ["echo", str(number)]) for number in range(200)]
    assert [await listener.output() for listener in listeners] == [[f"{number}\n"] for number in range(200)]


async def test_a_listener_continues_after_a_reconnection(lab: CommandClient) -> None:
    """A job's listener goes on after a disconnect and a connect."""
    listener = await lab.exec("echo one; read x; echo two")
    assert await listener.next() == "one\n"
    await lab.disconnect()
    assert not lab.channel.connected
    await lab.connect(SECONDS)
    await lab.send_input(listener.id, "x")
    assert await listener.output() == ["two\n"]


async def test_bytes_where_a_text_is_expected_are_a_type_error(lab: CommandClient) -> None:
    """They would be base64 on the wire, which then runs; also within a list or an object."""
    for args, kwargs in (((b"true",), {}), ((["echo", b"x"],), {}), (("true",), {"env": {"A": b"x"}})):
        with pytest.raises(TypeError, match="exec"):
            await lab.exec(*args, **kwargs)
    with pytest.raises(TypeError, match="must be str, not bytes"):
        await lab.cd(b"/tmp")


async def test_the_exit_code_of_a_hangup_is_no_bad_parameter(lab: CommandClient) -> None:
    """-1 of a job is SIGHUP, with the signal; only that of a refused parameter is a ValueError."""
    await lab.exec("kill -HUP $$", complete=True, raise_error=True)
    for listener in (lab.start("exec", "kill -HUP $$"), lab.start("ls", "/no/such")):
        await listener.output()
        assert listener.ended is not None
        signalled = listener.name == "exec"
        assert (listener.exit_code, listener.signal, listener.ended.bad_parameter) == (
            -1,
            1 if signalled else None,
            not signalled,
        )
    with pytest.raises(ValueError, match="No such directory"):
        await lab.ls("/no/such", raise_error=True)


async def test_transfer_takes_what_conplyents_takes(lab: CommandClient, tmp_path: Path) -> None:
    """The size of pieces by position or name, a time limit and `raise_error`; it is listed with the commands."""
    (tmp_path / "src").write_text("x")
    await lab.transfer(str(tmp_path / "src"), str(tmp_path / "a"), 4096)
    await lab.transfer(str(tmp_path / "src"), str(tmp_path / "b"), chunk=1, timeout=SECONDS, raise_error=True)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "x"
    with pytest.raises(ValueError, match="chunk"):
        await lab.transfer(str(tmp_path / "src"), str(tmp_path / "c"), 0)
    assert "transfer" in lab.server_methods()


async def test_a_prompt_arrives_before_its_line_ends(lab: CommandClient) -> None:
    """With `partial` a line comes as it is written, also when it is attached to; without it only whole lines come."""
    line = "printf 'name? '; read x; printf '50%%\\r'; read y; echo $x $y"
    partial, whole = lab.start("exec", line, partial=True), lab.start("exec", line)
    assert await partial.next() == "name? "
    attached = await lab.attach(partial.id, partial=True)
    assert await attached.next() == "name? "
    await whole.accepted()
    for listener in (partial, whole):
        await lab.send_input(listener.id, "a")
    assert await partial.next() == "50%"
    for listener in (partial, whole):
        await lab.send_input(listener.id, "b")
    assert [await listener.output() for listener in (partial, attached, whole)] == [
        ["\n", "a b\n"],
        ["50%", "\n", "a b\n"],
        ["name? 50%\n", "a b\n"],
    ]


async def test_unread_text_without_line_ends_stays_on_the_server(lab: CommandClient) -> None:
    """Pieces of a line that is not complete have credit as lines have, and all of them arrive."""
    listener = await lab.exec("yes | tr -d '\\n' | head -c 5000000; read x", partial=True)
    await until(lambda: listener.call is not None and sum(len(text) for text, _ in listener._held) > 500_000)
    found = 0
    while found < 5_000_000:
        found += len(await listener.next())
        assert sum(len(text) for text, _ in listener._held) <= 1024 * 1024
    assert found == 5_000_000
    await lab.kill(listener.id)
