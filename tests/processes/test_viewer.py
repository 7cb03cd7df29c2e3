"""Attaching to the console: all viewers get the lines, and a slow viewer does not delay the others."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from smartmob.processes import viewer
from tests.processes.archives import File
from tests.processes.conftest import SLEEP, Agent, lines, to_the_end, until_line
from tests.processes.frames import texts_and_rest
from tests.waiting import SECONDS, until

FLOOD = """
import os, sys
line = b"x" * 99 + b"\\n"
block, left = line * 1000, int(sys.argv[1])
while left:
    os.write(1, block)
    left -= 1
os.write(1, b"the end\\n")
"""


async def test_standard_output_and_error_can_be_told_apart(agent: Agent) -> None:
    """Each stream keeps its order and can be had alone or with marks; a last line without an end is complete."""
    words = "for n in 1 2 3; do echo out $n; echo err $n >&2; done; printf 'no end'; printf 'nor' >&2"
    await agent.run(f"mkdir spoken 2> /dev/null && {{ {words}; exit; }}; {SLEEP}")
    live = await agent.attach(tail=20, marks=1, events=1)
    await until_line(live, "3[smartmob] exited 0")
    told = await _kept(agent, marks=1)
    written = {"1": ["out 1", "out 2", "out 3", "no end"], "2": ["err 1", "err 2", "err 3", "nor"]}
    assert {mark: [line[1:] for line in told if line[0] == mark] for mark in "12"} == written
    assert await _kept(agent) == [line[1:] for line in told]
    assert await _kept(agent, stream="stdout") == written["1"]
    assert await _kept(agent, stream="stderr") == written["2"]
    assert await _kept(agent, marks=1, partial=1, stream="stderr", tail=1) == ["2nor\n"]
    async with agent.client.get("/attach-console/app.web.0", params={"stream": "err"}) as response:
        assert response.status == 400


async def _kept(agent: Agent, **query: Any) -> list[str]:
    console = await agent.attach(**{"tail": 100, "follow": 0} | query)
    return (await to_the_end(console))[0]


async def test_without_tail_only_new_lines_are_sent(agent: Agent) -> None:
    """Earlier output is not sent unless the client asks for it (seed 002)."""
    await agent.run("trap 'echo after' USR1; echo before; while :; do sleep 0.01; done")
    await until(lambda: _tail_is(agent, ["before"]))
    console = await agent.attach()
    await agent.post("signal", "app.web.0", {"signal": "USR1"})
    assert "before" not in await until_line(console, "after")


async def _tail_is(agent: Agent, wanted: list[str]) -> bool:
    return await _kept(agent) == wanted


async def test_without_follow_the_connection_closes_after_the_kept_lines(agent: Agent) -> None:
    """New lines are not sent."""
    await agent.run(f"echo one; echo two; {SLEEP}")
    await until(lambda: _tail_is(agent, ["one", "two"]))
    console = await agent.attach(tail=1, follow=0)
    assert await to_the_end(console) == (["two"], 1000)


async def test_lines_about_the_process_are_sent_on_request(agent: Agent) -> None:
    """They have a prefix; other viewers get the output of the program only."""
    agent.files.gate.clear()
    await agent.create(agent.app("web: echo hello; exit 3\n"))
    with_events, plain = await agent.attach(events=1), await agent.attach()
    agent.files.gate.set()
    found = await until_line(with_events, "restarting in")
    assert found[0].startswith("[smartmob] started, pid ")
    assert found[1:3] == ["hello", "[smartmob] exited 3"]
    assert await lines(plain, 2) == ["hello", "hello"]


async def test_bytes_that_are_not_utf8_are_replaced(agent: Agent) -> None:
    """A text frame is always valid."""
    main = "import os\nos.write(1, bytes(range(256)) * 10 + b'\\nend\\n')"
    await agent.create(agent.app("web: exec python3 main.py\n", {"main.py": main}))
    console = await agent.attach(tail=100)
    found = await until_line(console, "end")
    assert "�" in found[-2]


async def test_a_line_without_an_end_is_split(agent: Agent) -> None:
    """Each piece has 1 MiB, so memory stays bounded."""
    main = "import os, sys, time\nfor _ in range(5): os.write(1, b'z' * 524288)\nprint()\ntime.sleep(600)"
    agent.files.gate.clear()
    await agent.create(agent.app("web: python3 main.py\n", {"main.py": main}))
    console = await agent.client.ws_connect("/attach-console/app.web.0", max_msg_size=8 * 1024 * 1024)
    agent.files.gate.set()
    sizes: list[int] = []
    while sum(sizes) < 5 * 524288:
        sizes.append(len(await console.receive_str(timeout=SECONDS)))
    assert sum(sizes) == 5 * 524288
    assert max(sizes) <= 1024 * 1024


async def test_all_viewers_get_all_lines(agent: Agent) -> None:
    """Ten viewers get the same lines."""
    agent.files.gate.clear()
    await agent.create(
        agent.app("web: exec python3 -u main.py 5\n", {"main.py": FLOOD + "import time; time.sleep(600)"})
    )
    consoles = await asyncio.gather(*(agent.attach() for _ in range(10)))
    agent.files.gate.set()
    for found in await asyncio.gather(*(until_line(console, "the end") for console in consoles)):
        assert len(found) == 5_001
        assert set(found[:-1]) == {"x" * 99}


class Raw:
    """A viewer that reads only when a test calls `read`, and then without a pause."""

    def __init__(self, agent: Agent, receive_buffer: int = 1 << 20) -> None:
        self.port = agent.client.port
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    async def open(self) -> Raw:
        loop = asyncio.get_running_loop()
        self.socket.setblocking(False)
        await loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /attach-console/app.web.0 HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        await loop.sock_sendall(self.socket, request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(self.socket, 1)
        assert b" 101 " in head
        return self

    async def read(self, last: str) -> list[str]:
        """Return the lines up to one that contains `last`, and those that were received with it."""
        found: list[str] = []
        data = b""
        while not any(last in line for line in found[-1000:]):
            data += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 1 << 20), SECONDS)
            whole, data = texts_and_rest(data)
            found += whole
        return found


async def test_a_viewer_that_does_not_read_does_not_affect_the_others(agent: Agent) -> None:
    """It gets the number of lines that it missed, and then the new ones."""
    agent.files.gate.clear()
    main = FLOOD + "import time\nfor n in range(100000): print('tick', n, flush=True); time.sleep(0.05)"
    await agent.create(agent.app("web: exec python3 main.py 200\n", {"main.py": File(main)}))
    stuck = await Raw(agent, 65536).open()
    reading = await Raw(agent).open()
    agent.files.gate.set()
    found = await reading.read("the end")
    reading.socket.close()
    assert found.index("the end") == 200_000

    got = await stuck.read("tick")
    [notice] = [line for line in got if "skipped" in line]
    before = [line for line in got[: got.index(notice)] if line]
    skipped = int(notice.removeprefix("[smartmob] ").removesuffix(" lines skipped"))
    assert skipped > 0
    # It has the first lines, the number of skipped ones, and then every line.
    after = got[got.index(notice) + 1 :]
    whole = [*found[:200_001], *(f"tick {n}" for n in range(100_000))]
    assert before == whole[: len(before)]
    assert whole[len(before) + skipped :][: len(after)] == after
    stuck.socket.close()


async def test_a_delete_closes_the_console_with_1000(agent: Agent) -> None:
    """The last output is sent before."""
    await agent.run("trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done")
    console = await agent.attach(tail=1)
    assert await lines(console, 1) == ["ready"]
    deleting = asyncio.ensure_future(agent.post("delete", "app.web.0"))
    found, code = await to_the_end(console)
    assert ("bye" in found, code) == (True, 1000)
    await deleting


async def test_a_stuck_viewer_does_not_delay_a_delete(agent: Agent) -> None:
    """Its connection is aborted."""
    await agent.run("exec python3 main.py 100000000", {"main.py": FLOOD})
    stuck = await Raw(agent, 65536).open()
    await agent.post("delete", "app.web.0")
    stuck.socket.close()


async def test_a_viewer_that_attaches_during_a_delete_sees_its_end(agent: Agent) -> None:
    """The connection is closed with 1000."""
    await agent.run("trap '' TERM; echo ready; while :; do sleep 0.01; done", grace=60)
    await until(lambda: _tail_is(agent, ["ready"]))
    deleting = asyncio.ensure_future(agent.post("delete", "app.web.0"))
    await agent.become("app.web.0", "stopping")
    console = await agent.attach(events=1)
    await agent.post("signal", "app.web.0", {"signal": "KILL"})
    found, code = await to_the_end(console)
    assert code == 1000
    assert "[smartmob] ended by signal 9" in found
    await deleting


@pytest.mark.parametrize("query", [{"tail": "x"}, {"tail": "-1"}, {"events": "2"}, {"follow": "yes"}])
async def test_invalid_arguments_are_refused_before_the_handshake(agent: Agent, query: dict[str, str]) -> None:
    """The answer is an HTTP status."""
    await agent.create(agent.app(f"web: {SLEEP}\n"))
    with pytest.raises(WSServerHandshakeError) as caught:
        await agent.attach(**query)
    assert caught.value.status == 400


async def test_a_plain_request_is_answered_with_upgrade_required(agent: Agent) -> None:
    """The error says to connect by WebSocket."""
    await agent.create(agent.app(f"web: {SLEEP}\n"))
    async with agent.client.get("/attach-console/app.web.0") as response:
        assert "ws://" in (await response.json(content_type=None))["detail"]
    assert response.status == 426


async def test_messages_of_viewers_are_ignored(agent: Agent) -> None:
    """The program does not get them."""
    await agent.run("trap 'echo still here' USR1; echo ready; while :; do sleep 0.01; done")
    console = await agent.attach(tail=1)
    assert await lines(console, 1) == ["ready"]
    await console.send_str("hello")
    await console.send_bytes(b"\x00" * 1000)
    await console.ping()
    await agent.post("signal", "app.web.0", {"signal": "USR1"})
    await until_line(console, "still here")


async def test_the_status_has_the_number_of_viewers(agent: Agent) -> None:
    """Disconnected viewers do not count."""
    await agent.run(SLEEP)
    consoles = [await agent.attach() for _ in range(3)]
    await until(lambda: _viewers(agent, 3))
    await consoles[0].close()
    consoles[1]._response.connection.transport.abort()
    await until(lambda: _viewers(agent, 1))


async def test_a_viewer_that_answers_no_ping_is_disconnected(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers stays connected."""
    # A viewer has half of this time to answer.
    monkeypatch.setattr(viewer, "_HEARTBEAT_SECONDS", 4.0)
    await agent.run(SLEEP)
    alive = await agent.attach()
    answering = asyncio.create_task(alive.receive())
    await agent.attach()  # the test does not read from it, so pings are not answered
    await until(lambda: _viewers(agent, 2))
    await until(lambda: _viewers(agent, 1))
    assert not answering.done()
    answering.cancel()


async def _viewers(agent: Agent, count: int) -> bool:
    return bool((await agent.status("app.web.0"))["viewers"] == count)
