"""Certificate authorities are read when a client first needs them, and are then those of the machine."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from smartmob import authorities
from tests.certificates import Authority
from tests.waiting import SECONDS

_PROGRAM = """
import asyncio, gc, os, ssl, sys
from smartmob import authorities

def trusted():
    return sum(each.cert_store_stats()["x509_ca"] for each in gc.get_objects() if isinstance(each, ssl.SSLContext))

given = os.environ["SSL_CERT_FILE"]
with authorities.read_late(importing="aiohttp"):
    import aiohttp
print(trusted(), os.environ["SSL_CERT_FILE"] == given, "SSL_CERT_DIR" in os.environ)

from smartmob.client import tls_trust

async def ask():
    async with aiohttp.ClientSession(connector=tls_trust.connector()) as session, session.get(sys.argv[1]) as answer:
        print(await answer.text(), trusted())

asyncio.run(ask())
"""
"""Imports aiohttp without authorities, then asks the server at the address that it gets."""


async def test_a_client_trusts_the_authorities_of_the_machine_with_its_first_connection(tmp_path: Path) -> None:
    """An import reads none and leaves the environment as it was; the first connector reads those of SSL_CERT_FILE."""
    authority = Authority(tmp_path)
    files = authority.issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    runner = web.ServerRunner(web.Server(_answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, f"https://127.0.0.1:{port}/"),
            env={"SSL_CERT_FILE": str(authority.file)},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        await runner.cleanup()
    assert output.decode().split("\n") == ["0 True False", "trusted 1", ""]


async def _answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="trusted")


async def test_a_program_that_has_imported_the_module_keeps_its_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to leave out, so connectors take the context that aiohttp has made."""
    monkeypatch.setenv("SSL_CERT_FILE", "mine.pem")
    with authorities.read_late(importing=aiohttp.__name__):
        assert os.environ["SSL_CERT_FILE"] == "mine.pem"
    assert authorities.verification() is True
