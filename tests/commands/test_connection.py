"""One WebSocket connection: many commands at a time, and frames that are refused."""

from __future__ import annotations

import asyncio
from typing import Any

from smartmob.commands import protocol
from smartmob.commands.protocol import Call, Cancel, Credit, Done, End, Hello, Ping, Pong, Refused, Started
from smartmob.commands.registry import command
from smartmob.kernel.http.json_depth import MAX_LEVELS
from tests.commands.features import RunningFeature
from tests.commands.socket_clients import SocketClient
from tests.waiting import until


async def test_a_client_gets_its_working_directory_back(peer: SocketClient, commands: RunningFeature) -> None:
    """The client names itself and its working directory, and the service lists its commands."""
    (commands.home / "a").mkdir()
    await peer.send(Hello("ci@rack7", str(commands.home / "a")), Call(1, "cwd"), Ping(5))

    welcome, done, pong = peer.messages
    assert {"exec", "cd", "put"} <= {described.name for described in welcome.commands}
    assert done.values == [str(commands.home / "a")]
    assert pong == Pong(5)
    assert peer.connection.session.client == "ci@rack7 (10.0.0.1:5)"


async def test_an_inline_command_is_answered_by_one_message(peer: SocketClient) -> None:
    """No message but `done` is sent."""
    await peer.send(Call(1, "os_info"))
    assert peer.messages == [Done(1, 0, ["linux"])]


async def test_a_job_sends_its_number_its_output_and_its_end(peer: SocketClient) -> None:
    """The output comes at its offsets."""
    await peer.send(Call(1, "exec", ["echo hi; exit 3"]))
    done = await peer.end_of()

    (started,) = peer.of(Started)
    assert (started.job, started.number > 0, peer.data()) == (True, True, b"hi\n")
    assert (done.exit_code, done.state, done.end) == (3, "exited", 3)


async def test_many_commands_run_on_one_connection(peer: SocketClient) -> None:
    """Two hundred jobs at a time each get their own output."""
    await peer.send(*(Call(number, "exec", [["echo", str(number)]]) for number in range(200)))
    for number in range(200):
        assert (await peer.end_of(number)).exit_code == 0
        assert peer.data(number) == f"{number}\n".encode()


async def test_what_waits_for_a_client_is_bounded(peer: SocketClient) -> None:
    """A client that reads nothing is held at most one frame for each call, whatever it has asked for."""
    peer.open.clear()
    for number in range(20):
        peer.connection._start_call(Call(number, "exec", [["head", "-c", "2000000", "/dev/zero"]]))
    await until(lambda: peer.connection.held_bytes >= protocol.PIECE_BYTES)
    await asyncio.wait({asyncio.create_task(asyncio.sleep(0.2))})
    assert peer.connection.held_bytes <= 21 * protocol.PIECE_BYTES
    peer.open.set()


async def test_an_error_has_its_class_arguments_and_problem(peer: SocketClient) -> None:
    """Errors of commands, unknown commands and missing arguments are told apart."""
    await peer.send(Call(1, "cd", ["/no/such"]), Call(2, "nothing"), Call(3, "cd"))
    found = [(await peer.end_of(number)).error for number in (1, 2, 3)]

    assert [error and (error.type, error.problem) for error in found] == [
        ("FileNotFoundError", "not-found"),
        ("LookupError", "not-found"),
        ("TypeError", "invalid-input"),
    ]
    assert found[0] is not None
    assert found[0].args == [2, "No such file or directory", "/no/such"]


async def test_what_is_nested_too_deeply(peer: SocketClient) -> None:
    """Arguments with more levels than are allowed are refused; those with as many as are allowed are accepted."""
    deep = "[" * MAX_LEVELS + "]" * MAX_LEVELS
    await peer.connection.handle_text(f'{{"type":"call","id":1,"name":"cwd","args":{deep}}}')
    await peer.connection.handle_text(f'{{"type":"call","id":2,"name":"cwd","args":{deep[2:-2]}}}')
    refused = [message for message in peer.messages if type(message) is Refused]

    assert [(message.problem, "nested too deeply" in message.detail) for message in refused] == [
        ("invalid-input", True)
    ]
    assert peer.of(Done, 2)


async def test_an_invalid_message_is_refused_and_the_connection_lives_on(peer: SocketClient) -> None:
    """The refusal names the problem."""
    await peer.connection.handle_text("nonsense")
    await peer.connection.handle_binary(b"short")
    await peer.send(Call(1, "exec", [["cat"]]), Call(1, "exec", [["cat"]]))
    await peer.connection.handle_binary(protocol.encode_piece(protocol.INPUT, 1, 77, b"x"))
    refused = [message for message in peer.messages if type(message) is Refused]

    assert [message.problem for message in refused] == ["invalid-input"] * 4
    assert refused[2].id == 1
    await peer.send(Credit(9, 1), End(9), Cancel(9), Call(2, "cwd"))
    assert peer.of(Done, 2)


async def test_a_cancelled_call_sends_nothing_more(peer: SocketClient, commands: RunningFeature) -> None:
    """Its job goes on."""
    await peer.send(Call(1, "exec", ["read x; echo late"]))
    (started,) = await until(lambda: peer.of(Started))
    await peer.send(Cancel(1))
    await commands.call("send_input", started.number, "x")
    later = await commands.call("attach", started.number)

    assert later.data == b"late\n"
    assert peer.of(Done) == []


async def test_jobs_of_a_lost_client_go_on(peer: SocketClient, commands: RunningFeature) -> None:
    """Their input stays open, and the other commands of the client are cancelled."""
    await peer.send(Call(1, "exec", [["cat"]]), Call(2, "put", ["f", 10]))
    (started,) = await until(lambda: peer.of(Started))
    await until(lambda: (commands.home / "f.10.smartmob-part").exists())
    peer.connection.close()
    await commands.call("send_input", started.number, "still there")
    job = commands.service.supervisor.find(started.number)
    await until(lambda: job is not None and job.spool.end == 12)
    await until(lambda: not any("command-call" in name for name in commands.tasks.names()))


async def test_open_calls_are_bounded(peer: SocketClient, commands: RunningFeature) -> None:
    """A call beyond the bound is refused, and accepted when another one has ended."""

    async def waits(call: Any) -> None:
        await asyncio.Event().wait()

    commands.service.registry.add(command(waits))
    await peer.send(*(Call(number, "waits") for number in range(protocol.MOST_OPEN_CALLS)))
    assert peer.messages == []
    await peer.send(Call(5_000, "cwd"))
    (refused,) = peer.of(Refused, 5_000)
    assert "too many calls" in refused.detail
    await peer.send(Cancel(1), Call(5_000, "cwd"))
    assert (await peer.end_of(5_000)).exit_code == 0
