"""Clients of smartmob-agent: the walk-through of its documentation, as it stands there, against this service."""

from __future__ import annotations

import asyncio
import doctest
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.commands import serving
from tests.processes.archives import make_archive
from tests.processes.file_server import running_file_server

pytestmark = [pytest.mark.interop, pytest.mark.acceptance]

_WALK_THROUGH = Path(__file__).with_name("smartmob_agent.txt")
_ADDRESS = "127.0.0.1:8080"
_SOURCE = "http://..."
_ATTEMPTS = 30
"""A busy machine may list the process later than in the second in which it is `pending` there."""


class _Bytes(doctest.OutputChecker):
    """Compares what is printed with the text, byte by byte."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return want == got


def _walk(text: str) -> str:
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
        doctest.DocTestRunner(_Bytes(), verbose=False).run(test, out=wrong.append)
    finally:
        loop.run_until_complete(client.close())
        loop.close()
    return "".join(wrong)


async def _against(url: str, source: str) -> str:
    text = _WALK_THROUGH.read_text().replace(_ADDRESS, url.removeprefix("http://")).replace(_SOURCE, source)
    for _ in range(_ATTEMPTS):
        # The text has a loop of its own, and blocks.
        wrong = await asyncio.to_thread(_walk, text)
        if not wrong:
            return ""
    return wrong


@pytest.mark.parametrize("compressed", ["zip", "tar.gz"])
async def test_the_walk_through_prints_the_documents_of_the_text(
    database_url: str, tmp_path: Path, compressed: Any
) -> None:
    """Its requests are answered with exactly what it shows, and nothing is left at its end."""
    async with serving(tmp_path, "--database-url", database_url) as service, running_file_server() as files:
        source = files.file("/myapp", make_archive(compressed, {"Procfile": "web: exec sleep 600\n"}))
        assert await _against(service.url, source) == ""
        async with aiohttp.ClientSession() as session, session.get(f"{service.url}/list-processes") as response:
            assert await response.json() == {"processes": []}


async def test_the_walk_through_to_the_letter(database_url: str, tmp_path: Path) -> None:
    """With `http://...` for an address, as it is printed, all documents are the same as well."""
    async with serving(tmp_path, "--database-url", database_url) as service:
        assert await _against(service.url, _SOURCE) == ""
