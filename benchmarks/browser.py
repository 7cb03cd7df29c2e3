"""A Chromium as a user has it: with a cache of its own, and without tools that watch pages.

A debugger that watches a page makes its scripts slower by half, so that a page is only asked once it is there: what it
noted itself while it was made (User Timing).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from benchmarks.candidates import CannotMeasure
from tests.console.conftest import chromium

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
    "--window-size=1280,900",
)
_ADDRESS = re.compile(rb"listening on (ws://\S+)")
_PATIENCE, _PAUSE = 60.0, 1.0


class Browser:
    """A running Chromium, and the connection that gives it orders."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def time(self, url: str, mark: str) -> float:
        """Open a page in a window of its own; return the milliseconds from the navigation until it set `mark`."""
        target = (await self._order("Target.createTarget", url="about:blank", newWindow=True))["targetId"]
        session = (await self._order("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        await self._order("Page.navigate", session, url=url)
        question = f"performance.getEntriesByName({json.dumps(mark)})[0]?.startTime"
        async with asyncio.timeout(_PATIENCE):
            found = None
            while found is None:
                # A question takes the page's time: the first comes when most pages are there.
                await asyncio.sleep(_PAUSE)
                answered = await self._order("Runtime.evaluate", session, expression=question, returnByValue=True)
                found = answered["result"].get("value")
        await self._order("Target.closeTarget", targetId=target)
        return float(found)

    async def _order(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._number += 1
        order = {"id": self._number, "method": method, "params": params}
        await self._socket.send_json(order | ({"sessionId": session} if session else {}))
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise CannotMeasure(f"the browser refused {method}: {answer['error']}")
                return dict(answer["result"])


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run a browser with an empty profile until the end of the block. Raises FileNotFoundError without Chromium."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(chromium(), *_OPTIONS, f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stderr is not None
            async with asyncio.timeout(_PATIENCE):
                found = None
                while found is None and (line := await process.stderr.readline()):
                    found = _ADDRESS.search(line)
            if found is None:
                raise CannotMeasure("the browser ended before it took orders")
            address = found[1].decode()
            async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
                yield Browser(socket)
        finally:
            # The program of Debian is a shell, which waits for the browser: a signal for it alone ends only the shell.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await process.communicate()
