"""Releases: shared by concurrent calls, complete or absent, and removed when unused."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import NotFound, TooLarge, Unavailable
from smartmob.kernel.runtime.disk import free_bytes
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.download import DownloadError, DownloadLimits, StoredFile
from smartmob.processes.preparation.environments import Environments
from smartmob.processes.preparation.releases import Releases, UnpackedSource
from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackLimits
from tests.processes.archives import KINDS, make_archive
from tests.processes.commands import Runner, variables
from tests.processes.file_server import FileServer, running_file_server
from tests.waiting import SECONDS, until

APP = make_archive("tar.gz", {"app/Procfile": "web: ./run", "app/data/x": "1"})
DIGEST = hashlib.sha256(APP).hexdigest()
UNKNOWN = "0" * 64


@pytest.fixture(name="files")
async def _files() -> AsyncIterator[FileServer]:
    async with running_file_server() as server:
        yield server


Make = Callable[..., Coroutine[Any, Any, Releases]]


@pytest.fixture(name="make")
async def _make(tmp_path: Path) -> AsyncIterator[Make]:
    tasks = TaskRegistry()
    made: list[Releases] = []

    async def make(least_free: int = 0) -> Releases:
        environments = Environments(tmp_path / "r" / "environments", Runner(), tasks, variables())
        limits = DownloadLimits(bytes=1_000_000, stall_seconds=SECONDS, least_free=least_free)
        unpacking = UnpackLimits(bytes=10_000_000, least_free=least_free)
        releases = Releases(tmp_path / "r", tasks, environments, downloads=limits, unpacking=unpacking)
        await releases.open()
        made.append(releases)
        return releases

    yield make
    await tasks.close()
    for releases in made:
        await releases.close()


@pytest.fixture(name="releases")
async def _releases(make: Make) -> Releases:
    return await make()


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_an_archive_is_downloaded_unpacked_and_copied(releases: Releases, files: FileServer) -> None:
    """The working copy has the files of the source."""
    stored = await releases.fetch(files.file("/app", APP), request_id="r1")
    source = await releases.source(stored.digest)
    place = await releases.working_copy(source, "app.web.0")

    assert stored == StoredFile(DIGEST, len(APP))
    assert (place / "Procfile").read_text() == "web: ./run"
    assert (place / "data" / "x").read_text() == "1"
    assert files.requests[0][1]["X-Request-Id"] == "r1"
    assert await releases.environment(source, print) is None


async def test_ten_concurrent_nodes_share_the_download_and_the_source(
    releases: Releases, files: FileServer, tmp_path: Path
) -> None:
    """Each has its own working copy."""
    url = files.file("/app", APP)
    files.gate.clear()

    async def create(number: int) -> tuple[UnpackedSource, Path]:
        source = await releases.source((await releases.fetch(url)).digest)
        return source, await releases.working_copy(source, f"app.web.{number}")

    creating = [asyncio.create_task(create(number)) for number in range(10)]
    await files.asked.wait()
    files.gate.set()
    made = await asyncio.gather(*creating)

    assert files.asked_for("/app") == 1
    assert {source for source, _ in made} == {UnpackedSource(DIGEST, tmp_path / "r" / "sources" / DIGEST)}
    (made[0][1] / "data" / "x").write_text("changed")
    assert {(place / "data" / "x").read_text() for _, place in made[1:]} == {"1"}
    assert (made[0][0].root / "data" / "x").read_text() == "1"
    assert not _names(tmp_path / "r" / "making")


async def test_an_unchanged_archive_is_not_sent_again(releases: Releases, files: FileServer, tmp_path: Path) -> None:
    """The server is asked each time; a new version is downloaded, and so is an archive that was removed."""
    url = files.redirect("/app", "/v1")
    files.tagged("/v1", APP, '"1"')
    first = await releases.fetch(url)
    assert await releases.fetch(url) == first
    assert [headers.get("If-None-Match") for path, headers in files.requests if path == "/v1"] == [None, '"1"']

    other = make_archive("zip", {"Procfile": "x: y"})
    files.tagged("/v1", other, '"2"')
    assert (await releases.fetch(url)).digest == hashlib.sha256(other).hexdigest()
    files.redirect("/app", "/v2")
    files.tagged("/v2", APP, '"2"')
    assert (await releases.fetch(url)).digest == DIGEST

    await releases.remove_unused([], [], unused_seconds=-60)
    assert not releases.holds(DIGEST)
    assert (await releases.fetch(url)).digest == DIGEST
    assert releases.holds(DIGEST)
    assert not _names(tmp_path / "r" / "making")


async def test_progress_is_reported_to_all_callers(releases: Releases, files: FileServer) -> None:
    """A late caller gets the current progress first."""
    url = files.stall("/app", b"x" * 1000, promised=5000)
    seen: list[tuple[int, int | None]] = []
    began = asyncio.Event()
    first = asyncio.create_task(releases.fetch(url, progress=lambda _done, _total: began.set()))
    await began.wait()
    second = asyncio.create_task(releases.fetch(url, progress=lambda done, total: seen.append((done, total))))
    await asyncio.sleep(0)

    assert seen == [(1000, 5000)]
    for task in (first, second):
        task.cancel()
    await asyncio.wait([first, second])


async def test_a_cancelled_caller_does_not_affect_the_others(
    releases: Releases, files: FileServer, tmp_path: Path
) -> None:
    """When all are cancelled, the download is cancelled and its file removed."""
    url = files.file("/app", APP)
    files.gate.clear()
    waiters = [asyncio.create_task(releases.fetch(url)) for _ in range(3)]
    await files.asked.wait()
    waiters[0].cancel()
    await asyncio.wait(waiters[:1])
    files.gate.set()
    assert {stored.digest for stored in await asyncio.gather(*waiters[1:])} == {DIGEST}

    stalled = files.stall("/stalled", b"abc")
    began = asyncio.Event()
    waiters = [
        asyncio.create_task(releases.fetch(stalled, progress=lambda _done, _total: began.set())) for _ in range(3)
    ]
    await began.wait()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    assert files.asked_for("/stalled") == 1
    assert not _names(tmp_path / "r" / "making")


async def test_unpacking_can_be_cancelled(releases: Releases, tmp_path: Path) -> None:
    """Its files are removed, and the next call unpacks again."""
    data = make_archive("tar.gz", {f"{number}/x": "x" for number in range(2000)})
    stored = await releases.upload(_chunks_of(data))
    task = asyncio.create_task(releases.source(stored.digest))
    await until(lambda: _names(tmp_path / "r" / "making"))
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert not _names(tmp_path / "r" / "making")
    assert not _names(tmp_path / "r" / "sources")
    assert len(_names((await releases.source(stored.digest)).root)) == 2000


async def _chunks_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_failures_are_raised_for_all_callers_and_leave_no_files(
    releases: Releases, files: FileServer, tmp_path: Path
) -> None:
    """Each later call fails again with its reason."""
    missing = await asyncio.gather(*(releases.fetch(files.url("/none")) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in missing] == [DownloadError] * 3

    page = await releases.fetch(files.file("/page", b"<!DOCTYPE html>", content_type="application/gzip"))
    for _ in range(2):
        with pytest.raises(ArchiveError, match="an HTML page"):
            await releases.source(page.digest)
    with pytest.raises(DownloadError, match="more than 1000000 bytes"):
        await releases.fetch(files.endless("/endless"))
    with pytest.raises(DownloadError, match="is not an address that begins with http"):
        await releases.fetch("file:///etc/passwd")
    assert not _names(tmp_path / "r" / "making")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_uploaded_archive_needs_no_download(kind: Any, releases: Releases) -> None:
    """Its digest is known."""
    data = make_archive(kind, {"Procfile": "web: x"})
    stored = await releases.upload(_chunks(data))

    assert stored == StoredFile(hashlib.sha256(data).hexdigest(), len(data))
    assert releases.holds(stored.digest)
    path = releases.archive(stored.digest)
    assert path is not None
    assert path.read_bytes() == data
    assert (await releases.source(stored.digest)).digest == stored.digest


async def test_a_failed_upload_leaves_no_file(releases: Releases, tmp_path: Path) -> None:
    """It was too large, or the client disconnected."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("gone")

    with pytest.raises(TooLarge):
        await releases.upload(_chunks(bytes(1_000_001)))
    with pytest.raises(RuntimeError, match="gone"):
        await releases.upload(broken())
    assert not _names(tmp_path / "r" / "making")
    assert not _names(tmp_path / "r" / "downloads")

    (tmp_path / "r" / "making").rmdir()
    with pytest.raises(Unavailable, match="No such file"):
        await releases.upload(_chunks(b"x"))


@pytest.mark.parametrize("digest", [UNKNOWN, "", "..", "../downloads", "x" * 64, DIGEST.upper()])
async def test_an_unknown_digest_is_not_found(digest: str, releases: Releases) -> None:
    """A digest is not used as a path before it was checked."""
    assert releases.archive(digest) is None
    assert not releases.holds(digest)
    with pytest.raises(NotFound, match="is not stored here"):
        await releases.source(digest)


async def test_releases_and_working_copies_survive_a_restart(make: Make, files: FileServer, tmp_path: Path) -> None:
    """No download is needed, files of the program stay, and incomplete files are removed."""
    first = await make()
    digest = (await first.fetch(files.file("/app", APP))).digest
    place = await first.working_copy(await first.source(digest), "app.web.0")
    (place / "state").write_text("kept")
    left = tmp_path / "r" / "making" / "left"
    left.mkdir()
    (left / "x").touch()

    second = await make()

    assert second.holds(digest)
    assert (await second.source(digest)).root.is_dir()
    assert second.copy_of("app.web.0", digest) == place
    assert (place / "state").read_text() == "kept"
    assert second.copy_of("app.web.0", UNKNOWN) is None
    assert not _names(tmp_path / "r" / "making")
    assert files.asked_for("/app") == 1


async def test_a_new_working_copy_replaces_the_old_one(releases: Releases, tmp_path: Path) -> None:
    """Also the copy of another release is replaced."""
    source = await releases.source((await releases.upload(_chunks(APP))).digest)
    place = await releases.working_copy(source, "app.web.0")
    (place / "state").write_text("old")
    assert await releases.working_copy(source, "app.web.0") == place
    assert _names(place) == ["Procfile", "data"]

    other = await releases.source((await releases.upload(_chunks(make_archive("zip", {"Procfile": "x: y"})))).digest)
    await releases.working_copy(other, "app.web.0")
    assert releases.copy_of("app.web.0", source.digest) is None

    await releases.remove_working_copy("app.web.0")
    await releases.remove_working_copy("app.web.0")
    assert not _names(tmp_path / "r" / "copies")


@pytest.mark.parametrize("slug", ["../../x", "..", ".", "a/b", "", "ü.web.0", "x" * 5000, "-", "%2E.", "\udcff"])
async def test_any_slug_has_a_folder_of_its_own(slug: str, releases: Releases, tmp_path: Path) -> None:
    """Any two slugs have different folders, which are inside the folder of copies."""
    source = await releases.source((await releases.upload(_chunks(APP))).digest)
    other = await releases.working_copy(source, "other")
    place = await releases.working_copy(source, slug)

    assert place.parent == tmp_path / "r" / "copies" == place.resolve().parent
    assert releases.copy_of(slug, DIGEST) == place
    await releases.remove_working_copy(slug)
    assert _names(tmp_path / "r" / "copies") == [other.name]
    assert other.is_dir()


async def test_a_large_source_is_copied_in_a_thread(releases: Releases, tmp_path: Path) -> None:
    """The copy stops when the call is cancelled, and its files are removed."""
    data = make_archive("tar.gz", {"Procfile": "web: x", **{f"{number}/x": "x" for number in range(2000)}})
    source = await releases.source((await releases.upload(_chunks_of(data))).digest)
    copying = asyncio.create_task(releases.working_copy(source, "app.web.0"))
    await until(lambda: _names(tmp_path / "r" / "making"))
    copying.cancel()
    await asyncio.wait([copying])
    assert copying.cancelled()
    assert not _names(tmp_path / "r" / "making")
    assert not _names(tmp_path / "r" / "copies")

    for _ in range(2):
        assert len(_names(await releases.working_copy(source, "app.web.0"))) == 2001
    assert not _names(tmp_path / "r" / "making")


async def test_a_failed_copy_has_its_reason_and_leaves_no_files(releases: Releases, tmp_path: Path) -> None:
    """The error is an ArchiveError."""
    with pytest.raises(ArchiveError, match="the source cannot be copied: No such file"):
        await releases.working_copy(UnpackedSource(UNKNOWN, tmp_path / "none"), "app.web.0")
    assert not _names(tmp_path / "r" / "making")


async def test_only_the_owner_can_read_releases(releases: Releases, tmp_path: Path) -> None:
    """Sources may contain secrets."""
    for name in ("making", "downloads", "sources", "copies"):
        assert stat.S_IMODE((tmp_path / "r" / name).stat().st_mode) == 0o700


async def test_unused_releases_are_removed(releases: Releases, tmp_path: Path) -> None:
    """Archives, sources and copies stay while a process uses them, and for a while after their last use."""
    used = await releases.source((await releases.upload(_chunks(APP))).digest)
    unused = await releases.source((await releases.upload(_chunks(make_archive("zip", {"Procfile": "x: y"})))).digest)
    await releases.working_copy(used, "app.web.0")
    await releases.working_copy(unused, "app.web.1")

    assert await releases.remove_unused([used.digest], ["app.web.0"]) == 0
    for path in [*(tmp_path / "r").glob("*/*"), tmp_path]:
        os.utime(path, (0, 0))
    await releases.source(unused.digest)
    assert await releases.remove_unused([used.digest], ["app.web.0"]) == 2
    assert releases.holds(unused.digest)
    assert releases.archive(unused.digest) is None
    assert releases.copy_of("app.web.1", unused.digest) is None

    os.utime(unused.root, (0, 0))
    assert await releases.remove_unused([used.digest], ["app.web.0"]) == 1
    assert not releases.holds(unused.digest)
    assert releases.holds(used.digest)
    assert releases.copy_of("app.web.0", used.digest) is not None
    assert not _names(tmp_path / "r" / "making")


async def test_a_source_that_is_being_unpacked_is_not_removed(releases: Releases) -> None:
    """Its archive is not removed either."""
    stored = await releases.upload(_chunks_of(make_archive("tar", {f"{number}": "x" for number in range(500)})))
    unpacking = asyncio.create_task(releases.source(stored.digest))
    await asyncio.sleep(0)
    await asyncio.gather(*(releases.remove_unused([], [], unused_seconds=-60) for _ in range(3)))

    assert len(_names((await unpacking).root)) == 500


async def test_a_low_disk_is_an_error_that_leaves_no_files(make: Make, files: FileServer, tmp_path: Path) -> None:
    """Uploads, downloads, unpacking and working copies say how much is free."""
    before = await make()
    stored = await before.upload(_chunks(APP))
    low = await make(2 * free_bytes(tmp_path))

    with pytest.raises(Unavailable, match=r"cannot be stored: \d+ MiB are free, and --least-free keeps"):
        await low.upload(_chunks(APP))
    with pytest.raises(DownloadError, match="MiB are free"):
        await low.fetch(files.file("/app", APP))
    with pytest.raises(ArchiveError, match=r"cannot be unpacked: \d+ MiB are free"):
        await low.source(stored.digest)
    source = await before.source(stored.digest)
    with pytest.raises(ArchiveError, match=r"cannot be copied: \d+ MiB are free"):
        await low.working_copy(source, "app.web.0")
    assert _names(tmp_path / "r" / "making") == []
    assert _names(tmp_path / "r" / "copies") == []
