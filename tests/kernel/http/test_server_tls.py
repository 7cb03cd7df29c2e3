"""HTTPS and WebSockets over TLS, in a separate process that gets real signals."""

from __future__ import annotations

import asyncio
import signal
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.certificates import Authority
from tests.kernel.raw import wire
from tests.kernel.served import Start, check_noise


class TestTLS:
    """HTTPS and WebSockets over TLS."""

    @pytest.fixture(name="authority")
    def _authority(self, tmp_path: Path) -> Authority:
        """Return an authority for the test."""
        return Authority(tmp_path)

    async def test_sighup_reloads_the_certificate(self, start: Start, authority: Authority) -> None:
        """After SIGHUP new connections get the new certificate and open ones continue; bad files change nothing."""
        files = authority.issue()
        child = await start(tls=files)
        assert next(line for line in child.lines if line["event"] == "bind")["transport"] == "tls"
        url, context = f"https://127.0.0.1:{child.port}", ssl.create_default_context(cafile=authority.file)
        first = await self._shown(child.port, context)
        async with aiohttp.ClientSession() as session:
            async with (
                session.ws_connect(f"{url}/socket", ssl=context) as socket,
                session.get(f"{url}/hello", ssl=context) as response,
            ):
                assert (await socket.receive_str(), await response.json()) == ("hello", {"hello": "wörld"})
            files.key.write_bytes(authority.issue("other").key.read_bytes())
            child.process.send_signal(signal.SIGHUP)
            assert "is not the key" in (await child.next_event("tls.refused"))["reason"]
            assert await self._shown(child.port, context) == first
            authority.issue()
            child.process.send_signal(signal.SIGHUP)
            await child.next_event("tls.reloaded")
            # From the pool: the connection of before.
            async with session.get(f"{url}/hello", ssl=context) as response:
                assert response.status == 200
        assert await self._shown(child.port, context) != first

        child.process.send_signal(signal.SIGTERM)
        assert await child.end() == 0

    async def test_answers_over_tls_have_hsts(self, start: Start, authority: Authority) -> None:
        """Every answer over TLS has Strict-Transport-Security."""
        child = await start(tls=authority.issue())
        context = ssl.create_default_context(cafile=authority.file)
        async with aiohttp.ClientSession() as session:
            for path in ("/hello", "/plain", "/stream", "/unknown"):
                async with session.get(f"https://127.0.0.1:{child.port}{path}", ssl=context) as response:
                    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"

    async def test_idle_tls_connections_do_not_delay_the_stop(self, start: Start, authority: Authority) -> None:
        """Connections without a request or without a handshake do not delay the stop."""
        child = await start(tls=authority.issue())
        context = ssl.create_default_context(cafile=authority.file)
        _, idle = await asyncio.open_connection("127.0.0.1", child.port, ssl=context)
        async with wire(child.port):
            child.process.send_signal(signal.SIGTERM)
            assert await child.end() == 0
        idle.transport.abort()

    async def test_other_protocols_are_no_error(self, start: Start, authority: Authority) -> None:
        """Plain HTTP, other protocols and half a handshake are not logged as errors."""
        child = await start(tls=authority.issue())
        await check_noise(
            child, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00", b"", b"SSH-2.0-x\r\n"
        )

    async def test_invalid_files_refuse_the_start(self, start: Start, authority: Authority) -> None:
        """The service does not start with invalid files, and the application was not started."""
        files = authority.issue()
        files.key.unlink()
        child = await start(tls=files, ready=False)

        assert await child.end() == 3
        assert child.events() == ["refused"]
        assert child.lines[0]["said"].startswith("--tls-key: cannot read ")

    @staticmethod
    async def _shown(port: int, context: ssl.SSLContext) -> bytes | None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return shown
