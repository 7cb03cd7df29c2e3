"""Starting and stopping a server, in a separate process that gets real signals."""

from __future__ import annotations

import asyncio
import os
import pty
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from smartmob.errors import StartupError
from smartmob.kernel.http import server
from smartmob.settings import Settings
from tests.kernel.raw import wire
from tests.kernel.served import SECONDS, Start, check_noise
from tests.kernel.subprocesses.files import limited_to
from tests.kernel.tiny import build


async def test_the_limit_of_open_files_is_raised(start: Start) -> None:
    """The soft limit of open files is raised to the hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with limited_to(600):
        child = await start(before=("env",))  # a fork would have the limits of the process that is forked
    found = resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE)
    assert found == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536), hard)


async def test_bind_is_logged_after_the_start(start: Start) -> None:
    """The event `bind` has the address, and the application was started before it."""
    child = await start()

    assert child.events() == ["opened", "bind", "ready"]
    bind = child.lines[1]
    assert (bind["transport"], bind["host"], bind["port"]) == ("tcp", "127.0.0.1", child.port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_service_in_order(start: Start, number: signal.Signals) -> None:
    """The service logs the signal, closes the application and exits with 0."""
    child = await start()

    child.process.send_signal(number)

    assert await child.end() == 0
    assert child.events()[3:] == ["stopping", "stop", "finishing", "closed"]
    assert child.lines[4]["reason"] == number.name


async def test_an_active_request_is_answered_at_the_stop(start: Start) -> None:
    """An active request is answered and its connection closed, while new connections are refused."""
    child = await start()
    async with wire(child.port) as waiting, wire(child.port) as releasing:
        waiting.get("/wait")
        releasing.get("/hello")
        assert (await releasing.reply()).status == 200
        # Another connection was served after the first one's request had come.
        releasing.get("/hello")
        assert (await releasing.reply()).status == 200

        child.process.send_signal(signal.SIGTERM)
        assert (await child.next_event("finishing"))["waiting"] == 1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", child.port)
        releasing.get("/go")

        reply = await waiting.reply()
        assert (reply.status, reply.headers["Connection"]) == (200, "close")
        assert await waiting.ended() == b""
    assert await child.end() == 0
    assert "closed" in child.events()


async def test_a_body_that_is_arriving_is_read_at_the_stop(start: Start) -> None:
    """A request whose body is still arriving is read whole."""
    child = await start()
    async with wire(child.port) as line:
        line.send("POST /length HTTP/1.1\nHost: localhost\nContent-Length: 10\nExpect: 100-continue\n\n")
        async with asyncio.timeout(SECONDS):
            await line.reader.readuntil(b"\r\n\r\n")

        child.process.send_signal(signal.SIGTERM)
        await child.next_event("finishing")
        line.send(b"12345")
        line.send(b"67890")

        assert (await line.reply()).json() == {"length": 10}
    assert await child.end() == 0


async def test_idle_connections_do_not_delay_the_stop(start: Start) -> None:
    """A client with an idle connection does not delay the stop."""
    child = await start()
    async with wire(child.port) as line, wire(child.port):
        line.get("/hello")
        await line.reply()

        child.process.send_signal(signal.SIGTERM)

        assert await child.end() == 0


async def test_the_stop_waits_no_longer_than_its_time_limit(start: Start) -> None:
    """A request that does not end is cut off at the time limit."""
    child = await start(stop_timeout=0.1)
    async with wire(child.port) as line:
        line.get("/wait")
        async with wire(child.port) as other:
            other.get("/hello")
            await other.reply()

        child.process.send_signal(signal.SIGTERM)

        assert await child.end() == 0
        assert await line.ended() == b""
    assert child.events()[-1] == "closed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_exits_at_once(start: Start, number: signal.Signals) -> None:
    """The process calls `force_stop` and exits with the number of the signal."""
    child = await start()
    async with wire(child.port) as line:
        line.get("/wait")
        async with wire(child.port) as other:
            other.get("/hello")
            await other.reply()
        child.process.send_signal(signal.SIGTERM)
        await child.next_event("finishing")

        child.process.send_signal(number)

        assert await child.end() == 128 + number
    # One goes to standard error and one to standard output.
    assert set(child.events()[-2:]) == {"stop.forced", "at_once"}
    assert "closed" not in child.events()


SECRET = "Bearer 5ecret"
MALFORMED = {
    "a header without a colon": f"GET / HTTP/1.1\nHost: localhost\nAuthorization {SECRET}\n\n",
    "a space before a colon": f"GET / HTTP/1.1\nHost: localhost\nAuthorization : {SECRET}\n\n",
    "a version that there is not": "GET / HTTP/9.9\n\n",
    "an endless path": f"GET /{'x' * 20_000} HTTP/1.1\nHost: localhost\n\n",
    "an endless header": f"GET / HTTP/1.1\nHost: localhost\nAuthorization: {SECRET}{'x' * 20_000}\n\n",
    "endless headers": "GET / HTTP/1.1\nHost: localhost\n" + "".join(f"X-{n}: x\n" for n in range(2_000)) + "\n",
    "two lengths": "POST /length HTTP/1.1\nHost: localhost\nContent-Length: 1\nContent-Length: 2\n\nx",
    "a length that is none": "POST /length HTTP/1.1\nHost: localhost\nContent-Length: -1\n\nx",
    "a length and chunks": "POST /length HTTP/1.1\nHost: localhost\nContent-Length: 1\nTransfer-Encoding: chunked\n\nx",
    "a chunk without a size": "POST /length HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\nzz\nx\n0\n\n",
}


async def test_malformed_http_gets_one_problem_with_an_id(start: Start) -> None:
    """Malformed HTTP gets one problem document, and the log has its id without the sent bytes."""
    child = await start()
    for name, request_text in MALFORMED.items():
        async with wire(child.port) as line:
            line.send(request_text)
            reply = await line.reply()
            assert await line.ended() == b"", name

        assert (reply.status, reply.headers["Content-Type"]) == (400, "application/problem+json"), name
        problem = reply.json()
        assert (problem["type"], problem["status"]) == ("urn:smartmob:problem:invalid-input", 400), name
        assert problem["request_id"] == reply.headers["X-Request-Id"], name
        assert "5ecret" not in f"{problem}", name
        access = await child.next_event("http.access")
        assert (access["request"], access["outcome"]) == (problem["request_id"], 400), name
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{child.port}/hello") as response:
            assert response.status == 200
        assert (await child.next_event("http.access"))["outcome"] == 200
    child.process.send_signal(signal.SIGTERM)
    await child.end()
    assert child.events().count("http.access") == 2 * len(MALFORMED)
    assert "library.logged" not in child.events()
    assert all("exception" not in line for line in child.lines)
    assert "5ecret" not in f"{child.lines}"


async def test_a_malformed_head_is_logged_with_its_reason(start: Start) -> None:
    """A malformed head is logged beside the access log."""
    child = await start()
    async with wire(child.port) as line:
        line.send(MALFORMED["a header without a colon"])
        problem = (await line.reply()).json()

    said = await child.next_event("http.malformed")

    assert said["request"] == problem["request_id"]
    assert said["reason"] == problem["detail"].partition(": ")[2] != ""


async def test_an_incomplete_head_is_closed_at_the_deadline(start: Start) -> None:
    """A connection without a complete head in time is closed, for the first and for later requests."""
    child = await start(idle_timeout=3.0)

    async def begin(begun: str, earlier: int) -> None:
        async with wire(child.port) as line:
            for _ in range(earlier):
                line.get("/hello")
                await line.reply()
            line.send(begun)
            assert await line.ended() == b""

    parts = ("", "GE", "GET /hello HTTP/1.1\nHost: loc", "GET /hello HTTP/1.1\nHost: localhost\n")
    await asyncio.gather(*(begin(part, earlier) for part in parts for earlier in (0, 1)))


async def test_slow_bytes_do_not_extend_the_deadline_of_a_head(start: Start) -> None:
    """A head that arrives in small parts has no more time."""
    child = await start(idle_timeout=3.0)
    async with wire(child.port) as line:
        line.send("GET /hello HTTP/1.1\nHost: localhost\n")
        ended = asyncio.ensure_future(line.ended())
        while not ended.done():
            line.send("X-Drop: x\n")
            await asyncio.wait([ended], timeout=0.05)

        assert ended.result() == b""


async def test_other_protocols_are_no_error(start: Start) -> None:
    """Bytes of other protocols (TLS, no bytes, half a request) are not logged as errors."""
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    await check_noise(await start(), tls, b"", b"GET /hello HT", b"\0" * 5000, b"SSH-2.0-x\r\n")


async def test_a_taken_port_is_named_before_the_start(start: Start) -> None:
    """The error names the address and the option, and the application was not started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        child = await start(port, ready=False)

        assert await child.end() == 3
    assert child.events() == ["refused"]
    assert child.lines[0]["said"] == (
        f"cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another with --port, or --port 0."
    )


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "x" * 70, "a\0b"])
async def test_an_invalid_address_is_named(host: str) -> None:
    """An invalid name and an address of another machine are named in the error."""
    app, _, gate = build()

    with pytest.raises(StartupError, match=r"^cannot listen on "):
        await server.serve(app, gate, Settings(host=host, port=0), on_stop=_never, force_stop=_never)


def _never() -> None:
    raise AssertionError


async def test_a_failed_start_closes_the_application() -> None:
    """The error is raised, and everything that was opened before it is closed."""
    app, _, gate = build()
    opened = []

    async def first(_: Any) -> AsyncIterator[None]:
        opened.append("first")
        yield
        opened.remove("first")

    async def second(_: Any) -> AsyncIterator[None]:
        if opened:
            raise StartupError("the database is away")
        yield

    app.cleanup_ctx.extend([first, second])

    with pytest.raises(StartupError, match="the database is away"):
        await server.serve(app, gate, Settings(port=0), on_stop=_never, force_stop=_never)

    assert opened == []


class TestHangUp:
    """SIGHUP: a closed terminal, or a request to reload."""

    _ATTACH = "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.argv[2], sys.argv[2:])"

    async def test_a_closed_terminal_stops_the_service(self, start: Start) -> None:
        """The service stops in order, however often the signal arrives."""
        there, here = pty.openpty()
        child = await start(before=(sys.executable, "-c", self._ATTACH, os.ttyname(here)))
        async with wire(child.port) as waiting, wire(child.port) as releasing:
            waiting.get("/wait")
            releasing.get("/hello")
            await releasing.reply()
            # The descriptor of this end stays open, so that only the loss of the other one is felt.
            os.close(there)
            await child.next_event("finishing")
            child.process.send_signal(signal.SIGHUP)
            releasing.get("/go")
            assert (await waiting.reply()).status == 200
        os.close(here)

        assert await child.end() == 0
        assert next(line for line in child.lines if line["event"] == "stop")["reason"] == "SIGHUP"

    @pytest.mark.parametrize("before", [(), ("nohup",)])
    async def test_without_a_terminal_sighup_does_not_stop(self, start: Start, before: tuple[str, ...]) -> None:
        """Without a terminal, or under nohup, the service continues."""
        child = await start(before=before)

        child.process.send_signal(signal.SIGHUP)

        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{child.port}/hello") as response:
            assert response.status == 200
        child.process.send_signal(signal.SIGTERM)
        assert await child.end() == 0


async def test_systemd_is_notified_in_order(start: Start, tmp_path: Path) -> None:
    """systemd is notified that the service is ready, alive and stopping, in this order."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        child = await start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000")
        heard = [await loop.sock_recv(sock, 4096) for _ in range(3)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        child.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            while (told := await loop.sock_recv(sock, 4096)) == b"WATCHDOG=1":
                pass
        assert told == b"STOPPING=1"
        assert await child.end() == 0
