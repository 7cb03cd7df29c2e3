"""Downloads from a real server, and the reasons of failed downloads."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import brotli
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec.structs import replace
from yarl import URL

from smartmob.errors import TooLarge
from smartmob.kernel.runtime.disk import DiskLow, free_bytes
from smartmob.processes.preparation.decompression import zstd_module
from smartmob.processes.preparation.download import (
    DownloadError,
    DownloadLimits,
    StoredFile,
    check_url,
    download,
    open_session,
    store,
)
from tests.processes.file_server import FileServer, running_file_server
from tests.waiting import SECONDS

BODY = os.urandom(1_500_000)
LIMITS = DownloadLimits(
    bytes=2_000_000, connect_seconds=SECONDS, stall_seconds=SECONDS, total_seconds=SECONDS, redirects=3
)


@pytest.fixture(name="files")
async def _files() -> AsyncIterator[FileServer]:
    async with running_file_server() as server:
        yield server


@pytest.fixture(name="session")
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


async def test_a_downloaded_file_has_its_content_and_digest(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The digest is that of the bytes of the server."""
    url = files.file("/app.tar", BODY)

    stored = await download(session, url, tmp_path / "x", LIMITS, request_id="req-1")

    assert (tmp_path / "x").read_bytes() == BODY
    assert stored == StoredFile(hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert files.requests[0][1]["X-Request-Id"] == "req-1"
    assert "Cookie" not in files.requests[0][1]


async def test_progress_is_reported(files: FileServer, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """It grows up to the size, which is known from the beginning."""
    seen: list[tuple[int, int | None]] = []
    url = files.file("/x", BODY)

    await download(session, url, tmp_path / "x", LIMITS, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    assert len(seen) > 1


async def test_redirects_are_followed(files: FileServer, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Relative and absolute redirects are followed, with the request id."""
    files.redirect("/a", "/b", 301)
    files.redirect("/b", files.url("/c"), 307)
    files.file("/c", b"x")

    stored = await download(session, files.url("/a"), tmp_path / "x", LIMITS, request_id="r")

    assert stored.size == 1
    assert [(path, headers["X-Request-Id"]) for path, headers in files.requests] == [
        ("/a", "r"),
        ("/b", "r"),
        ("/c", "r"),
    ]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "http://[", "data:,x"])
async def test_redirects_to_other_schemes_are_refused(
    location: str, files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A server cannot make the service read its own files."""
    files.redirect("/a", location)

    with pytest.raises(DownloadError, match=r"/a: redirects to .*, and only http and https are followed"):
        await download(session, files.url("/a"), tmp_path / "x", LIMITS)
    assert not (tmp_path / "x").exists()


async def test_a_circle_of_redirects_is_refused(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The number of redirects is limited."""
    files.redirect("/a", "/a")

    with pytest.raises(DownloadError, match="more than 3 redirects"):
        await download(session, files.url("/a"), tmp_path / "x", LIMITS)
    assert files.asked_for("/a") == 4


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "x", "", "http://", "http://[x", "https:///x", "http://h/\udcff"]
)
async def test_only_http_addresses_are_accepted(url: str, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """The error says what is expected, and does not quote an address that cannot be parsed."""
    with pytest.raises(DownloadError, match=r"is not (a valid|an) address"):
        check_url(url)
    with pytest.raises(DownloadError, match=r"is not (a valid|an) address"):
        await download(session, url, tmp_path / "x", LIMITS)


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 500, 503])
async def test_any_status_but_200_is_a_failure(
    status: int, files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The error has the status, and no error page is stored."""
    url = files.status("/x", status)

    with pytest.raises(DownloadError, match=f"/x: the server answered {status}"):
        await download(session, url, tmp_path / "x", LIMITS)
    assert not (tmp_path / "x").exists()


async def test_a_download_without_an_end_is_cancelled(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Not more bytes are written than the limit allows."""
    with pytest.raises(DownloadError, match="more than 2000000 bytes"):
        await download(session, files.endless("/x"), tmp_path / "x", LIMITS)
    assert (tmp_path / "x").stat().st_size <= 2_000_000


async def test_a_download_with_too_large_a_content_length_is_refused(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Nothing is written."""
    url = files.stall("/x", promised=2_000_001)

    with pytest.raises(DownloadError, match=r"more than 2000000 bytes \(2000001\)"):
        await download(session, url, tmp_path / "x", LIMITS)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("sent", [b"", b"abc"])
async def test_a_download_that_stalls_is_cancelled(
    sent: bytes, files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The time without a byte is limited."""
    with pytest.raises(DownloadError, match=r"stalled: nothing was received for 0\.05 s"):
        await download(session, files.stall("/x", sent), tmp_path / "x", replace(LIMITS, stall_seconds=0.05))


async def test_a_server_that_never_answers_is_a_failure(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The limit of the time without a byte includes the wait for the response."""
    with pytest.raises(DownloadError, match=r"stalled: nothing was received for 0\.05 s"):
        await download(session, files.silence("/x"), tmp_path / "x", replace(LIMITS, stall_seconds=0.05))


async def test_the_total_time_of_a_download_is_limited(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Neither silence nor further bytes extend it."""
    limits = replace(LIMITS, bytes=10**15, total_seconds=0.1)

    with pytest.raises(DownloadError, match=r"not complete after 0\.1 s"):
        await download(session, files.stall("/y"), tmp_path / "y", limits)
    with pytest.raises(DownloadError, match=r"not complete after 0\.1 s"):
        await download(session, files.endless("/x"), tmp_path / "x", limits)


async def test_a_body_that_was_cut_off_is_a_failure(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A body that is shorter than its Content-Length is not accepted."""
    url = files.truncate("/x", b"abc", promised=1000)

    with pytest.raises(DownloadError, match="ended before the body was complete"):
        await download(session, url, tmp_path / "x", LIMITS)


async def test_a_refused_connection_is_reported(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """The error has the reason of the operating system."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+/x: no connection: Connection refused"):
            await download(session, url, tmp_path / "x", LIMITS)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1%25lo]/x",
        "http://[::ffff:169.254.169.254]/x",
        "http://[fd00:ec2::254]/x",
        "http://0xA9FEA9FE/x",
        "http://[64:ff9b::a9fe:a9fe]/x",
        "http://168.63.129.16/x",
        "http://192.0.0.192/x",
        "http://100.100.100.200/x",
    ],
)
async def test_link_local_addresses_are_refused(url: str, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """No notation of the address evades the check, and no connection is tried."""
    with pytest.raises(DownloadError, match="link-local addresses"):
        await download(session, url, tmp_path / "x", LIMITS)


async def test_a_redirect_to_a_link_local_address_is_refused(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The target of a redirect is checked like a source."""
    url = files.redirect("/x", "http://169.254.169.254/latest/meta-data/")
    with pytest.raises(DownloadError, match=r"169\.254\.169\.254/.*: link-local addresses"):
        await download(session, url, tmp_path / "x", LIMITS)


class _Rebinding(AbstractResolver):
    """A resolver that answers each lookup with the next of its addresses, and repeats the last one."""

    def __init__(self, *answers: str) -> None:
        self.asked = 0
        self._answers = answers

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
            for address in answer.split()
        ]

    async def close(self) -> None:
        """Close nothing: there is no connection."""


async def test_a_name_that_changes_to_a_forbidden_address_is_refused(files: FileServer, tmp_path: Path) -> None:
    """The checked address is the one that is connected to (DNS rebinding)."""
    port = URL(files.file("/x", b"x")).port
    files.redirect("/y", f"http://other.test:{port}/x")
    resolver = _Rebinding("127.0.0.1", "169.254.169.254")
    async with open_session(resolver) as session:
        stored = await download(session, f"http://lab.test:{port}/x", tmp_path / "first", LIMITS)
    async with open_session(resolver) as session:
        with pytest.raises(DownloadError, match=r"lab\.test.*: link-local addresses"):
            await download(session, f"http://lab.test:{port}/x", tmp_path / "second", LIMITS)
    async with open_session(_Rebinding("127.0.0.1", "169.254.169.254")) as session:
        with pytest.raises(DownloadError, match=r"other\.test.*: link-local addresses"):
            await download(session, f"http://lab.test:{port}/y", tmp_path / "third", LIMITS)
    assert (stored.size, resolver.asked) == (1, 2)
    assert [path for path, _ in files.requests] == ["/x", "/y"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection without an answer"),
        (b"220 ftp ready\r\n\r\n", "the answer is not valid HTTP"),
    ],
)
async def test_an_answer_that_is_not_http_is_reported(
    answer: bytes, reason: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The error differs from that of a server that fails."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DownloadError, match=reason):
            await download(session, f"http://127.0.0.1:{port}/x", tmp_path / "x", LIMITS)


async def test_errors_show_no_secrets(files: FileServer, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Errors contain neither passwords nor queries of an address."""
    url = files.url("/x").replace("http://", "http://me:secret@") + "?token=secret"

    with pytest.raises(DownloadError, match="/x: the server answered 404") as caught:
        await download(session, url, tmp_path / "x", LIMITS)

    assert "secret" not in str(caught.value)
    assert files.requests[0][1]["Authorization"].startswith("Basic ")


async def test_a_redirect_keeps_the_login_within_its_origin(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Another origin, here one of another port, does not get it; neither does the first one after that."""
    async with running_file_server() as other:
        login = "http://me:s%40crid@"
        files.redirect("/a", "/b?sig=secret")
        files.redirect("/b", files.file("/c", b"c"))
        files.redirect("/d", other.redirect("/e", files.url("/c")))
        await download(session, files.url("/a").replace("http://", login), tmp_path / "a", LIMITS)
        await download(session, files.url("/d").replace("http://", login), tmp_path / "d", LIMITS)

        sent = [(path, headers.get("Authorization")) for path, headers in files.requests + other.requests]
    # The password is `s@crid`.
    basic = "Basic bWU6c0Bjcmlk"
    assert sent == [("/a", basic), ("/b", basic), ("/c", basic), ("/d", basic), ("/c", None), ("/e", None)]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again(
    status: int, files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """After the time that it names, in seconds or as a date, three times at most."""
    waits = ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "0"]
    await download(session, files.busy("/x", b"x", *waits, status=status), tmp_path / "x", LIMITS)
    assert (tmp_path / "x").read_bytes() == b"x"
    assert files.asked_for("/x") == 4
    for waits, asked in ((["0"] * 4, 4), (["3600"], 1), (["soon"], 1)):
        path = f"/{len(waits)}{waits[0]}"
        with pytest.raises(DownloadError, match=f"the server answered {status}"):
            await download(session, files.busy(path, b"x", *waits, status=status), tmp_path / "y", LIMITS)
        assert files.asked_for(path) == asked


async def test_answers_in_other_encodings_are_decoded(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """With the packages of the extra `encodings`."""
    module = zstd_module()
    assert module is not None
    bodies = {"br": brotli.compress(BODY), "zstd": module.compress(BODY), "gzip": gzip.compress(BODY)}
    for encoding, body in bodies.items():
        await download(session, files.encoded(f"/{encoding}", body, encoding), tmp_path / encoding, LIMITS)
        assert (tmp_path / encoding).read_bytes() == BODY


async def test_a_missing_package_for_an_encoding_is_named(files: FileServer, tmp_path: Path) -> None:
    """In a Python that cannot import them, the error says what to install."""
    program = """
import asyncio, pathlib, sys
for name in ("brotli", "brotlicffi", "backports.zstd", "compression.zstd"):
    sys.modules[name] = None
from smartmob.processes.preparation.download import DownloadError, DownloadLimits, download, open_session
async def main():
    async with open_session() as session:
        for url in sys.argv[2:]:
            try:
                await download(session, url, pathlib.Path(sys.argv[1]), DownloadLimits())
            except DownloadError as error:
                print(error)
asyncio.run(main())
"""
    urls = [files.encoded(f"/{encoding}", b"x", encoding) for encoding in ("br", "zstd")]
    python = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path / "x"), *urls, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await python.communicate()
    assert output.decode().splitlines() == [
        f"{url}: the answer is encoded with {encoding}, which needs smartmob[encodings] on the machine of the service"
        for url, encoding in zip(urls, ("br", "zstd"), strict=True)
    ]


async def test_a_compressed_answer_counts_with_its_decompressed_size(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The limit stops a compression bomb of the transport."""
    body = gzip.compress(bytes(5_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DownloadError, match="more than 2000000 bytes"):
            await download(session, f"http://127.0.0.1:{port}/x", tmp_path / "x", LIMITS)


async def test_a_cancelled_download_closes_its_connection(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The next download works."""
    url = files.stall("/x", b"abc")
    began = asyncio.Event()
    task = asyncio.create_task(
        download(session, url, tmp_path / "x", LIMITS, progress=lambda _done, _total: began.set())
    )
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await download(session, files.file("/y", b"y"), tmp_path / "y", LIMITS)).size == 1


async def test_a_file_that_cannot_be_written_is_reported(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The error has the reason of the operating system."""
    with pytest.raises(DownloadError, match="No such file or directory"):
        await download(session, files.file("/x", b"x"), tmp_path / "none" / "x", LIMITS)


async def test_a_stream_is_stored_up_to_the_limit(tmp_path: Path) -> None:
    """One byte more is refused."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100_000

    stored = await store(chunks(), tmp_path / "a", DownloadLimits(300_000))

    assert stored == StoredFile(hashlib.sha256(b"x" * 300_000).hexdigest(), 300_000)
    with pytest.raises(TooLarge, match="more than 299999 bytes"):
        await store(chunks(), tmp_path / "b", DownloadLimits(299_999))


async def test_a_stream_without_a_size_leaves_the_least_free_space(tmp_path: Path) -> None:
    """The free space is checked while a stream is written, and not only before it."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(2_000):
            yield bytes(1024**2)

    limits = DownloadLimits(1024**4, least_free=free_bytes(tmp_path) - 8 * 1024**2)
    with pytest.raises(DiskLow):
        await store(chunks(), tmp_path / "x", limits)


async def test_a_download_leaves_the_least_free_space(
    files: FileServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A download without a size ends there; one with a size is refused before a byte is written."""
    least = free_bytes(tmp_path) - 30 * 1024**2
    limits = replace(LIMITS, bytes=1024**4, least_free=least)

    with pytest.raises(DownloadError, match=r"/x: \d+ MiB are free, and --least-free keeps \d+ MiB"):
        await download(session, files.endless("/x"), tmp_path / "x", limits)
    assert (tmp_path / "x").stat().st_size < 1024**3
    (tmp_path / "x").unlink()
    with pytest.raises(DownloadError, match="MiB are free"):
        await download(session, files.stall("/y", promised=free_bytes(tmp_path) // 2), tmp_path / "y", limits)
    assert not (tmp_path / "y").exists()
