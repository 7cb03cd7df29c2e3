"""A service with a certificate: commands, the reporting agent, browsers and other clients use TLS."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest

from smartmob import client
from smartmob.client.failures import NotConnected
from tests.acceptance.commands import PROGRAMS, SECONDS, RunningCommand, environment, run, serving
from tests.certificates import Authority
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

TOKEN = "a-token-of-the-test"


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    """Return a certificate authority of the test."""
    return Authority(tmp_path)


@pytest.fixture(name="service")
async def _service(reachable_path: Path, authority: Authority) -> AsyncIterator[RunningCommand]:
    """Return a service with a certificate and a token."""
    files = authority.issue()
    async with serving(reachable_path / "data", *files.options, SMARTMOB_TOKEN=TOKEN) as service:
        yield service


async def test_commands_work_over_tls(service: RunningCommand, authority: Authority, tmp_path: Path) -> None:
    """A program is uploaded, runs and is read, and a command runs, over HTTP and WebSockets."""
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "Procfile").write_text("web: echo hello from $PORT; exec sleep 600\n")
    trusted = {"SMARTMOB_SERVER": service.url, "SMARTMOB_TOKEN": TOKEN, "SMARTMOB_CA_FILE": str(authority.file)}
    command = partial(run, **trusted)

    assert (await command("run", tmp_path / "hello", "--detach"))[0] == 0

    async def is_greeted() -> bool:
        return "hello from 5" in (await command("logs", "hello.web.0"))[1]

    await until(is_greeted)
    assert (await command("exec", "--no-stdin", "--", "echo", "over TLS"))[:2] == (0, "over TLS\n")
    copied = await command("cp", f":{tmp_path}/hello/Procfile", tmp_path / "copy")
    assert (copied[0], (tmp_path / "copy").read_text()[:4]) == (0, "web:")
    code, output, _ = await command("exec", "--no-stdin", "--on", service.url, "--", "echo", "many")
    assert (code, output) == (0, "127.0.0.1: many\n")


async def test_addresses_and_cookies_are_for_https(service: RunningCommand, authority: Authority) -> None:
    """Addresses begin with https, and the session cookie is secure."""
    context = ssl.create_default_context(cafile=authority.file)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.post(f"{service.url}/upload-archive", data=b"PK", headers=headers) as answer:
            assert (await answer.json())["source_url"].startswith(f"{service.url}/archives/")
        async with session.post(f"{service.url}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
            # With this prefix, a browser refuses the cookie from ports without TLS and from other host names.
            assert cookie.key.startswith("__Host-smartmob_session_")
            assert (cookie["path"], cookie["domain"]) == ("/", "")
            assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Strict")
        foreign = {"Origin": service.url.replace("https", "http"), **headers}
        async with session.post(f"{service.url}/metrics/", json={}, headers=foreign) as answer:
            assert answer.status == 403


async def test_nothing_is_sent_to_a_service_that_is_not_trusted(
    service: RunningCommand, authority: Authority, tmp_path: Path
) -> None:
    """The error says which option to give."""
    plain = {"SMARTMOB_SERVER": service.url, "SMARTMOB_TOKEN": TOKEN}
    for words in (("ps",), ("exec", "--no-stdin", "--", "true")):
        code, _, errors = await run(*words, **plain)
        assert code in (1, 3)
        assert "its certificate is not trusted: " in errors
        assert "--ca-file" in errors
        assert "Traceback" not in errors
    other = Authority(tmp_path / "other")
    assert (await run("ps", "--ca-file", other.file, **plain))[0] == 3
    code, _, errors = await run("ps", "--ca-file", tmp_path / "absent", **plain)
    assert (code, "cannot read" in errors) == (2, True)
    code, _, errors = await run("ps", "--ca-file", authority.issue("x").key, **plain)
    assert (code, "holds no certificate" in errors) == (2, True)


async def test_a_certificate_for_another_name_is_refused(reachable_path: Path, authority: Authority) -> None:
    """The error does not blame the authority."""
    files = authority.issue("server", "lab.example.com")
    async with serving(reachable_path / "data", *files.options) as service:
        code, _, errors = await run("ps", "--ca-file", authority.file, SMARTMOB_SERVER=service.url)
        assert code == 3
        assert "its certificate is for another name" in errors
        with pytest.raises(NotConnected, match="for another name"):
            await client.connect(service.url, ca_file=authority.file).connect()


async def test_the_client_library_takes_the_authority(service: RunningCommand, authority: Authority) -> None:
    """Asynchronous and synchronous scripts do."""
    async with client.connect(service.url, TOKEN, ca_file=authority.file) as lab:
        assert await lab.exec("echo asynchronous", complete=True) == ["asynchronous\n"]

    def plain() -> object:
        with client.add(service.url, token=TOKEN, ca_file=authority.file, enter_connect_timeout=SECONDS) as connection:
            return connection.exec("echo plain")

    assert await asyncio.to_thread(plain) == ["plain\n"]


async def test_the_reporting_agent_reports_over_tls(
    service: RunningCommand, authority: Authority, tmp_path: Path
) -> None:
    """It logs why it cannot, and reports once the certificate is trusted."""
    process = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "report-host", "--to", service.url, "--name", "rack7", "--interval", "0.1"),
        *("--state-dir", tmp_path / "state", "--ca-file", authority.file),
        stderr=asyncio.subprocess.PIPE,
        env=environment(SMARTMOB_TOKEN=TOKEN),
    )
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS):
        assert b"reporting to https://" in await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_a_certificate_without_its_key_is_refused(reachable_path: Path, authority: Authority) -> None:
    """This is wrong usage."""
    files = authority.issue()
    code, _, errors = await run("serve", "--tls-cert", files.cert, "--data-dir", reachable_path / "data")

    assert code == 2
    assert "--tls-cert and --tls-key belong together" in errors
    assert not (reachable_path / "data").exists()
