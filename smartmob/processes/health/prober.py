"""Executes health checks: an HTTP request, a connection, or a command in the folder of the program."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from smartmob import __version__
from smartmob.errors import Unavailable
from smartmob.kernel.subprocesses.child import SpawnFailed
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.processes import model
from smartmob.processes.health import state_machine as m
from smartmob.processes.health import targets
from smartmob.processes.preparation import command
from smartmob.processes.protocol import shown_address
from smartmob.processes.spawned_program import run_to_end

_LOOPBACK = (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))
_BODY_BYTES = 64 * 1024
"""The most bytes of a body that are read."""
_KEPT_BYTES = 1024
"""The bytes that are kept from the end of a command's output."""
_SHOWN_CHARACTERS = 200
_OWN_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""Shortages of the service or the machine, which say nothing about the program (errno(3))."""
_FIRST_GOOD_STATUS, _FIRST_ERROR_STATUS = 200, 400


class _Resolver(AbstractResolver):
    """Resolves `localhost` to both loopback addresses, whatever /etc/hosts says."""

    def __init__(self) -> None:
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host != targets.LOCALHOST:
            return await self._system.resolve(host, port, family)
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=numeric)
            for address, family in _LOOPBACK
        ]

    async def close(self) -> None:
        await self._system.close()


class Prober:
    """Executes the checks of all programs. Call `close` at the end."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._session is not None:
            await self._session.close()

    async def execute(self, check: model.HealthCheck, ready: model.PreparedProcess) -> m.Finished:
        """Execute a check of the program that `ready` has started; return its result within the check's timeout."""
        port = ready.env.get("PORT", str(ready.port))
        try:
            async with asyncio.timeout(check.timeout):
                if check.command is not None:
                    return await self._command(check.command, ready)
                if check.http is not None:
                    return await self._http(targets.url(check.http, port))
                return await _tcp(*targets.address(check.tcp or 0, port))
        except TimeoutError:
            return m.Finished(passed=False, detail=f"no result within {check.timeout:g} s")
        except ValueError as error:  # the program's own PORT is not a port
            return m.Finished(passed=False, detail=str(error))

    async def _http(self, url: str) -> m.Finished:
        """Request an address: a status from 200 to 399 passes, as for Kubernetes; redirects are not followed."""
        if self._session is None:
            # Programs have self-made certificates, and a check must not use cookies or proxies.
            connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0, resolver=_Resolver())
            headers = {"User-Agent": f"smartmob/{__version__}"}
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(
                connector=connector, headers=headers, cookie_jar=jar, auto_decompress=False
            )
        shown = shown_address(url)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                await response.content.read(_BODY_BYTES)
                passed = _FIRST_GOOD_STATUS <= response.status < _FIRST_ERROR_STATUS
                return m.Finished(
                    passed, "" if passed else f"{shown} answered {response.status} {response.reason or ''}"
                )
        except aiohttp.ClientConnectorError as error:
            return _not_connected(shown, error.os_error)
        except aiohttp.ClientError as error:
            return m.Finished(passed=False, detail=f"{shown}: {str(error) or type(error).__name__}")

    async def _command(self, text: str, ready: model.PreparedProcess) -> m.Finished:
        """Run a command in the folder and the environment of the program: the exit status 0 passes."""
        output = bytearray()

        def keep(chunk: bytes) -> None:
            output.extend(chunk)
            del output[:-_KEPT_BYTES]

        try:
            status = await run_to_end(self._spawner, command.argv(text), Path(ready.folder), ready.env, keep)
        except SpawnFailed as error:
            return m.Finished(passed=False, detail=str(error))
        except (Unavailable, OSError) as error:
            return m.Finished(passed=None, detail=str(error))
        lines = output.decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")[:_SHOWN_CHARACTERS]
        said = "its command was killed" if status is None else f"its command exited {status}"
        return m.Finished(passed=status == 0, detail="" if status == 0 else said + (f": {last}" if last else ""))


async def _is_with_itself(writer: asyncio.StreamWriter) -> bool:
    """Close a connection; return whether it was one with itself.

    Without a listener, a connection to a port of the ephemeral range can connect to itself (RFC 9293, section 3.5).
    """
    itself = writer.get_extra_info("sockname") == writer.get_extra_info("peername")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return bool(itself)


async def _tcp(host: str, port: int) -> m.Finished:
    """Connect, and close at once."""
    hosts = [address for address, _ in _LOOPBACK] if host == targets.LOCALHOST else [host]
    found = m.Finished(passed=None)
    for each in hosts:
        try:
            _, writer = await asyncio.open_connection(each, port)
        except OSError as error:
            # Use the reason of the first address, unless the second one fails for a reason of the service itself.
            failed = _not_connected(f"{each} port {port}", error)
            found = found if found.detail and failed.passed is not None else failed
            continue
        if not await _is_with_itself(writer):
            return m.Finished(passed=True)
        found = m.Finished(passed=False, detail=f"nothing listens on {each} port {port}")
    return found


def _not_connected(where: str, error: OSError) -> m.Finished:
    """Return the result of a failed connection; the text of asyncio repeats the address, or has several errors."""
    if error.errno in _OWN_ERRORS:
        return m.Finished(passed=None, detail=os.strerror(error.errno))
    is_number = error.errno is not None and not isinstance(error, socket.gaierror)
    reason = os.strerror(error.errno or 0) if is_number else error.strerror or ""
    return m.Finished(passed=False, detail=f"cannot connect to {where}" + (f": {reason}" if reason else ""))
