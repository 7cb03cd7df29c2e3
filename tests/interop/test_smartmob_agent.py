"""Clients of smartmob-agent: the walk-through of its documentation, as it stands there, against this service."""

from __future__ import annotations

import asyncio
import doctest
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from smartmob.processes import model
from tests.acceptance.commands import serving
from tests.processes.archives import make_archive
from tests.processes.file_server import running_file_server

pytestmark = [pytest.mark.interop, pytest.mark.acceptance]

_WALK_THROUGH = Path(__file__).with_name("smartmob_agent.txt")
_ADDRESS = "127.0.0.1:8080"
_SOURCE = "http://..."
_ON_THE_WAY = {model.PENDING, model.DOWNLOADING, model.UNPACKING, model.PROCESSING, model.RUNNING}
"""States that a process may have reached when it is listed right after its creation; the text says `pending`."""


class _Documents(doctest.OutputChecker):
    """Compares JSON documents: everything that the text shows must be there, and further fields may be."""

    def __init__(self, later: set[str]) -> None:
        self._later = later

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return self._holds(json.loads(want), json.loads(got)) if want else got == ""

    def _holds(self, want: Any, got: Any) -> bool:
        if isinstance(want, dict):
            return isinstance(got, dict) and all(name in got and self._holds(want[name], got[name]) for name in want)
        if isinstance(want, list):
            return isinstance(got, list) and len(want) == len(got) and all(map(self._listed, want, got))
        return bool(want == got)

    def _listed(self, want: dict[str, Any], got: dict[str, Any]) -> bool:
        return got["state"] in self._later and self._holds(want | {"state": got["state"]}, got)


def _walk(text: str, later: set[str]) -> str:
    """Execute the text and return what is wrong; it has the names that the documentation prepares for it."""
    loop = asyncio.new_event_loop()

    async def connect() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    client = loop.run_until_complete(connect())
    wrong: list[str] = []
    try:
        names = {"asyncio": asyncio, "json": json, "aiohttp": aiohttp, "loop": loop, "client": client}
        test = doctest.DocTestParser().get_doctest(text, names, _WALK_THROUGH.name, str(_WALK_THROUGH), 0)
        assert len(test.examples) == 24
        doctest.DocTestRunner(_Documents(later), verbose=False).run(test, out=wrong.append)
    finally:
        loop.run_until_complete(client.close())
        loop.close()
    return "".join(wrong)


async def _against(url: str, source: str, later: set[str]) -> str:
    text = _WALK_THROUGH.read_text().replace(_ADDRESS, url.removeprefix("http://")).replace(_SOURCE, source)
    # The text has a loop of its own, and blocks.
    return await asyncio.to_thread(_walk, text, later)


@pytest.mark.parametrize("compressed", ["zip", "tar.gz"])
async def test_the_walk_through(database_url: str, tmp_path: Path, compressed: Any) -> None:
    """Its requests are answered with the documents that it shows, and nothing is left at its end."""
    async with serving(tmp_path, "--database-url", database_url) as service, running_file_server() as files:
        source = files.file("/myapp", make_archive(compressed, {"Procfile": "web: exec sleep 600\n"}))
        assert await _against(service.url, source, _ON_THE_WAY) == ""
        async with aiohttp.ClientSession() as session, session.get(f"{service.url}/list-processes") as response:
            assert await response.json() == {"processes": []}


async def test_the_walk_through_to_the_letter(database_url: str, tmp_path: Path) -> None:
    """Even with `http://...` for an address, as it is printed, nothing but the state in the listing differs."""
    async with serving(tmp_path, "--database-url", database_url) as service:
        later = {model.PENDING, model.DOWNLOADING, model.DOWNLOAD_FAILURE}
        assert await _against(service.url, _SOURCE, later) == ""
