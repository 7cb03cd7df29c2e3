"""`smartmob serve` as a process: start, refusals and stop."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import aiohttp
import orjson
import psutil
import pytest

from smartmob import __version__
from tests.acceptance.commands import connected, launch, postgres_pid, run, serving
from tests.metrics.samples import metric
from tests.waiting import SECONDS

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


async def _post(url: str, document: object = None) -> int:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/metrics/", json=document or metric()) as answer:
        return answer.status


async def _count(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics/count") as answer:
        return int((await answer.json())["count"])


@pytest.mark.parametrize(("program", "number"), [("smartmob", signal.SIGTERM), ("smartmob-agent", signal.SIGINT)])
async def test_a_service_finds_its_data_after_a_restart(
    reachable_path: Path, program: str, number: signal.Signals
) -> None:
    """It serves with the embedded database and stops in order on a signal."""
    data = reachable_path / "data"
    for stored in range(2):
        async with serving(data, as_installed=stored == 1, program=program) as service:
            assert await _count(service.url) == stored
            assert await _post(service.url) == 201
            assert (await service.stop(number)) == 0
            assert service.events[-2]["event"] == "stop"
            assert service.events[-2]["reason"] == number.name
            assert service.errors == b""
        assert postgres_pid(data) is None


async def test_a_request_in_progress_is_completed_during_the_stop(reachable_path: Path) -> None:
    """Its body is still arriving when the stop begins; the data is stored."""
    data = reachable_path / "data"
    async with serving(data) as service, connected(service.url) as (reader, writer):
        body = orjson.dumps(metric())
        writer.write(b"POST /metrics/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:9])
        await writer.drain()
        assert await _post(service.url) == 201  # by now the other request is being handled
        service.send_signal(signal.SIGTERM)
        await service.event("stop")
        with pytest.raises(aiohttp.ClientConnectorError):
            await _post(service.url)
        writer.write(body[9:])
        assert (await reader.readline()).split()[1] == b"201"
        assert await service.wait() == 0
    async with serving(data) as service:
        assert await _count(service.url) == 2


async def test_a_second_signal_stops_at_once(reachable_path: Path) -> None:
    """Nothing is waited for any more, and no process is left."""
    data = reachable_path / "data"
    async with serving(data) as service, connected(service.url) as (_, writer):
        writer.write(b"POST /metrics/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n")
        await writer.drain()
        assert await _post(service.url) == 201
        pid = postgres_pid(data)
        service.send_signal(signal.SIGINT)
        await service.event("stop")
        assert await service.stop(signal.SIGINT) == 128 + signal.SIGINT
        assert b"stop.forced" in service.errors
        assert pid is not None
        psutil.wait_procs([process for process in [_process(pid)] if process], timeout=SECONDS)
        assert postgres_pid(data) is None


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


async def test_a_second_service_on_one_data_directory_is_refused(reachable_path: Path) -> None:
    """It names the first one and says what to do; the first goes on."""
    data = reachable_path / "data"
    async with serving(data) as service:
        code, _, errors = await run("serve", "--port", "0", "--data-dir", data)

        assert code == 1
        assert f"in use by another smartmob service (process {service.pid})" in errors
        assert "--data-dir" in errors
        assert await _post(service.url) == 201


async def test_the_database_of_a_killed_service_is_shut_down(reachable_path: Path) -> None:
    """Acknowledged data is there after each of several restarts."""
    data = reachable_path / "data"
    for killed in range(4):
        async with serving(data) as service:
            assert await _count(service.url) == killed
            assert await _post(service.url) == 201
            started = await service.event("database.started")
            assert started["taken_over"] is False
            process = psutil.Process(started["pid"])
            # Without another start, the database ends by itself after the last one.
            service.send_signal(signal.SIGKILL)
            await service.wait()
            if killed < 3:
                async with serving(data) as successor:
                    assert (await successor.event("database.started"))["taken_over"] is False
                    assert await _count(successor.url) == killed + 1
            _, alive = psutil.wait_procs([process], timeout=SECONDS)
            assert alive == []
            assert postgres_pid(data) is None
    logs = "".join(path.read_text() for path in (data / "postgres" / "cluster" / "log").glob("*.log"))
    assert "received fast shutdown request" in logs
    assert "was not properly shut down" not in logs


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_listening_on_all_addresses_needs_a_token(reachable_path: Path, host: str) -> None:
    """Without one it refuses to start and says what to do."""
    code, output, errors = await run("serve", "--host", host, "--port", "0", "--data-dir", reachable_path / "data")

    assert (code, output) == (1, "")
    assert all(way in errors for way in ("--token-file", "SMARTMOB_TOKEN", "127.0.0.1", "--insecure"))


async def test_the_token_is_needed_and_never_shown(reachable_path: Path) -> None:
    """Requests without it are refused, and no log line and no process list has it."""
    token = "a-secret-that-must-not-be-seen"
    async with serving(
        reachable_path / "data", "--host", "0.0.0.0", as_installed=True, SMARTMOB_TOKEN=token
    ) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        assert await _post(url) == 401
        assert await _post(url.replace("//", f"//ci:{token}@")) == 201
        assert token not in " ".join(psutil.Process(service.pid).cmdline())
    assert token not in str(service.events) + service.errors.decode()


async def test_a_taken_port_is_reported_before_anything_is_started(reachable_path: Path) -> None:
    """The error names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = await run("serve", "--port", str(port), "--data-dir", reachable_path / "data")

    assert code == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in errors
    assert not (reachable_path / "data").exists()


async def test_a_database_that_never_answers_ends_the_start(tmp_path: Path) -> None:
    """The wait is logged, and the error says why."""
    command = await launch(
        *("--port", "0", "--data-dir", tmp_path / "data", "--database-wait", "0.5"),
        pid_file=tmp_path / "pid",
        DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/nothing",
    )

    assert await command.wait() == 1
    errors = command.errors.decode()
    assert "database.waiting" in errors
    assert "the database did not answer for 0.5 s" in errors
    assert "--database-url" in errors
    assert "hidden" not in errors


async def test_the_log_goes_to_its_endpoint(reachable_path: Path) -> None:
    """Warnings go to standard error, too."""
    log = reachable_path / "service.log"
    command = await launch(
        *("--port", "0", "--data-dir", reachable_path / "data", "--utc", "--database-wait", "0.3"),
        *("--logging-endpoint", log.as_uri()),
        pid_file=reachable_path / "pid",
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing",
    )

    await command.wait()

    assert command.events == []
    lines = [orjson.loads(line) for line in log.read_text().splitlines()]
    assert {line["event"] for line in lines} == {"database.waiting"}
    assert all(line["@timestamp"].endswith("Z") and line["level"] == "warning" for line in lines)
    assert b"database.waiting" in command.errors


@pytest.mark.parametrize("program", ["smartmob", "smartmob-agent"])
async def test_both_commands_have_version_and_help(program: str) -> None:
    """They have the same options."""
    assert __version__ in (await run("--version", program=program))[1]
    arguments = ["serve", "--help"] if program == "smartmob" else ["--help"]
    code, output, _ = await run(*arguments, program=program)
    assert code == 0
    for option in ("--host", "--port", "--log-format", "--utc", "--logging-endpoint", "--data-dir", "--token-file"):
        assert option in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--port", "x"], "--port: expected a whole number"),
        (["serve", "--log-format", "xml"], "--log-format"),
        (["serve", "--logging-endpoint", "syslog://x"], "neither file:///PATH"),
        (["serve", "--no-such-option"], "--no-such-option"),
        (["nonsense"], "nonsense"),
    ],
)
async def test_wrong_usage_gives_exit_code_2_and_no_traceback(arguments: list[str], said: str) -> None:
    """The message says what is wrong."""
    code, _, errors = await run(*arguments)

    assert code == 2
    assert said in errors
    assert "Traceback" not in errors
