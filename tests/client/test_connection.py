"""The client for plain Python: the API of the seed, to the letter, and from threads."""

from __future__ import annotations

import io
import pydoc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from smartmob import client
from smartmob.client import ClientError, ClientTimeout
from smartmob.client.limits import LIMITS
from smartmob.settings import Settings
from tests.client.servers import Server, serving
from tests.waiting import SECONDS


@pytest.fixture(name="connection")
def _connection(server: Server) -> Iterator[client.ClientConnection]:
    """Return a connection that is made as the seed does it."""
    connection = client.add("127.0.0.1", port=server.port)
    connection.connect(timeout=SECONDS)
    yield connection
    connection.close()


def test_the_seeds_first_examples(server: Server) -> None:
    """`add`, `connect`, commands, `close`; and the same by `with`."""
    connection = client.add("127.0.0.1", port=server.port)
    with pytest.raises(AttributeError, match="become methods by connect"):
        connection.cwd()
    connection.connect(timeout=SECONDS)
    assert connection.os_info() == ["linux"]
    connection.close()
    with pytest.raises(ConnectionError, match="closed"):
        connection.connect()
    with client.add("127.0.0.1", port=server.port, enter_connect_timeout=SECONDS) as connection:
        assert connection.os_info() == ["linux"]
        assert connection in client.connections()
    assert connection not in client.connections()


def test_a_command_takes_the_options_of_the_seed(connection: client.ClientConnection) -> None:
    """`complete`, `echo_response`, `raise_error`, `max_interval` and `timeout` on every command."""
    assert connection.exec("echo one; echo two") == ["one\n", "two\n"]
    printed = io.StringIO()
    with redirect_stdout(printed):
        connection.exec("echo one; echo two", echo_response=True)
    # The service of this test writes its log to the same place.
    assert [line for line in printed.getvalue().splitlines() if "job." not in line] == ["one", "two"]
    (error,) = connection.cd("/no/such")
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        connection.cd("/no/such", raise_error=True)
    with pytest.raises(ValueError, match="No such directory"):
        connection.ls("/no/such", raise_error=True)
    with pytest.raises(ClientError):
        connection.exec("sleep 600", max_interval=0.2)
    with pytest.raises(ClientTimeout):
        connection.exec("sleep 600", timeout=0.2)


def test_a_listener_has_the_members_of_the_seed(connection: client.ClientConnection) -> None:
    """`id`, `next`, `iter(listener.next, None)`, `done`, `exit_code`, `max_interval` and `with`."""
    listener = connection.exec("echo one; read x; echo $x; exit 3", complete=False)
    assert isinstance(listener.id, int)
    assert listener.next() == "one\n"
    assert (listener.done, listener.exit_code) == (False, None)
    listener.max_interval = 0.1
    with pytest.raises(ClientTimeout, match=r"silent for 0\.1 s"):
        listener.next()
    listener.max_interval = None
    connection.send_input(listener.id, "two")
    assert list(iter(listener.next, None)) == ["two\n"]
    assert (listener.done, listener.exit_code) == (True, 3)
    assert listener.next() is None
    with connection.exec("sleep 600", complete=False) as listener:
        assert connection.is_alive(listener.id) == [True]
    assert connection.is_alive(listener.id) == [True]
    assert connection.kill(listener.id) == [f"Sent kill command to job {listener.id}"]
    with pytest.raises(ValueError, match="above 0"):
        listener.max_interval = 0


def test_clear_passes_over_all_messages(connection: client.ClientConnection) -> None:
    """All messages are passed over, until the end or until nothing comes."""
    listener = connection.exec("seq 1000; read x", complete=False)
    listener.max_interval = 0.3
    listener.clear_messages()
    assert not listener.done
    connection.send_input(listener.id, "x")
    listener.max_interval = None
    listener.clear_messages()
    assert listener.done


def test_the_seeds_client_commands(connection: client.ClientConnection, tmp_path: Path) -> None:
    """`heartbeat`, `transfer`, and `server_methods` with signatures and documentation; `help` shows them."""
    assert connection.heartbeat(timeout=SECONDS) is True
    (tmp_path / "a").write_bytes(b"content")
    connection.transfer(str(tmp_path / "a"), str(tmp_path / "new" / "b"))
    connection.fetch(str(tmp_path / "new" / "b"), tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"content"
    methods = {str(method): method for method in connection.server_methods()}
    assert methods["mkdir"].signature.startswith("mkdir(path: str")
    assert methods["exec"].text.startswith("Run a program")
    shown = pydoc.plain(pydoc.render_doc(connection.exec))
    assert "exec(cmd: str | list[str]" in shown
    assert "Run a program" in shown


def test_jobs_continue_after_a_disconnect(connection: client.ClientConnection) -> None:
    """Jobs go on, and their listeners too; without a connection commands say so."""
    listener = connection.exec("echo one; read x; echo two", complete=False)
    assert listener.next() == "one\n"
    connection.disconnect()
    with pytest.raises(ConnectionError, match="call connect first"):
        connection.cwd()
    connection.connect(timeout=SECONDS)
    connection.send_input(listener.id, "x")
    assert list(listener) == ["two\n"]


def test_threads_share_connections(connection: client.ClientConnection, server: Server) -> None:
    """Many threads use one connection, and several, at once."""
    with client.add(server.url, enter_connect_timeout=SECONDS) as other, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: (connection, other)[n % 2].exec(f"echo {n}"), range(40)))
    assert found == [[f"{number}\n"] for number in range(40)]


def test_a_server_that_is_not_there(settings: Settings) -> None:
    """Waiting for it ends in time, and with what to do about it."""
    with serving(settings) as server:
        port = server.port
    connection = client.add("127.0.0.1", port=port)
    # On a busy machine the time is up before the first refusal comes.
    with pytest.raises(ConnectionError, match=r"cannot connect to http|did not answer within 0\.2 s"):
        connection.connect(timeout=0.2)
    connection.close()
    with pytest.raises(ValueError, match="not the address"):
        client.add("http://")


def test_half_a_million_lines_arrive_in_order(connection: client.ClientConnection) -> None:
    """Half a million lines arrive, each once and in order."""
    lines = iter(connection.exec("seq 500000", complete=False).next, None)
    assert all(int(line) == number for number, line in enumerate(lines, start=1))


def test_gathered_output_is_bounded(connection: client.ClientConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose output has more bytes than may be gathered is given up with one line; its job goes on."""
    monkeypatch.setattr(LIMITS, "gathered_bytes", 100_000)
    with pytest.raises(ClientError, match="was left out; read it with a listener"):
        connection.exec("seq 500000")


def test_close_all_closes_every_connection(server: Server) -> None:
    """The whole pool is closed at once."""
    made = [client.add(server.url) for _ in range(3)]
    made[0].connect(timeout=SECONDS)
    client.close_all()
    assert client.connections() == []


def test_a_prompt_is_returned_before_its_line_ends(connection: client.ClientConnection) -> None:
    """With `partial` a line comes as it is written, and printed messages are as the program wrote them."""
    listener = connection.exec("printf 'name? '; read x; echo $x; exit 3", complete=False, partial=True)
    assert listener.next() == "name? "
    connection.send_input(listener.id, "me")
    assert list(listener) == ["me\n"]
    assert (listener.exit_code, listener.signal) == (3, None)
    assert connection.exec("printf a", partial=True, echo_response=True) == ["a"]
    listener = connection.exec("kill -HUP $$", complete=False)
    assert list(listener) == []
    assert (listener.exit_code, listener.signal) == (-1, 1)
