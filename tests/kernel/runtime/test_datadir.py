"""The data directory and its lock, which real processes hold."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smartmob.errors import StartupError
from smartmob.kernel.runtime.datadir import DataDirectory, DirectoryId

_HOLDER = """
import sys
from pathlib import Path
from smartmob.kernel.runtime.datadir import DataDirectory, DirectoryId
folder = DataDirectory(Path(sys.argv[1]))
folder.hold()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="holder")
def _holder() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Return a function that starts a process, which holds a folder until its standard input ends."""
    children = []

    def start(path: Path) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", _HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        return child

    yield start
    for child in children:
        with child:
            child.kill()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Return a folder that does not exist yet."""
    return tmp_path / "some" / "data"


def _hold(path: Path) -> DataDirectory:
    folder = DataDirectory(path)
    folder.hold()
    return folder


class TestFolder:
    """The folder itself."""

    def test_the_folder_is_made_private(self, path: Path) -> None:
        """Parent folders are made, too; only the owner can list the folder or read the lock."""
        folder = _hold(path)

        assert path.is_dir()
        assert path.stat().st_mode & 0o066 == 0
        assert (path / "lock").stat().st_mode & 0o777 == 0o600
        folder.release()

    @pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
    def test_an_existing_folder_keeps_its_permissions(self, path: Path, mode: int) -> None:
        """Its owner has decided who may enter."""
        path.mkdir(parents=True)
        path.chmod(mode)

        _hold(path).release()

        assert path.stat().st_mode & 0o777 == mode

    def test_a_file_instead_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        """The error names the path, the reason and the option."""
        path = tmp_path / "file"
        path.write_text("")

        with pytest.raises(StartupError, match=r"/file cannot be used: Not a directory\..*--data-dir"):
            _hold(path)

    def test_a_folder_below_a_file_is_refused(self, tmp_path: Path) -> None:
        """The error is the same as for a file instead of the folder."""
        (tmp_path / "file").write_text("")

        with pytest.raises(StartupError, match=r"/file/data cannot be used: Not a directory"):
            _hold(tmp_path / "file" / "data")

    def test_free_bytes_are_those_of_the_disk(self, tmp_path: Path) -> None:
        """They are at most the size of the disk."""
        stats = os.statvfs(tmp_path)

        assert 0 < DataDirectory(tmp_path).free_bytes() <= stats.f_blocks * stats.f_frsize


class TestLock:
    """One service at a time."""

    def test_a_second_service_is_refused_with_the_process_id_of_the_first(
        self, path: Path, holder: Callable[[Path], subprocess.Popen[bytes]]
    ) -> None:
        """The error says what to do."""
        child = holder(path)

        with pytest.raises(StartupError, match=rf"in use by .*\(process {child.pid}\).*--data-dir"):
            _hold(path)

    def test_a_second_service_in_the_same_process_is_refused(self, path: Path) -> None:
        """The lock does not depend on the process."""
        first = _hold(path)

        with pytest.raises(StartupError, match=rf"\(process {os.getpid()}\)"):
            _hold(path)
        first.release()

    def test_a_holder_without_its_process_id_is_reported(self, path: Path) -> None:
        """The id is unknown between taking the lock and writing it."""
        first = _hold(path)
        os.truncate(path / "lock", 0)

        with pytest.raises(StartupError, match=r"another smartmob service\. Stop that one"):
            _hold(path)
        first.release()

    def test_a_released_folder_can_be_held_again(self, path: Path) -> None:
        """The process id of a former holder is overwritten."""
        (first := _hold(path)).release()
        (path / "lock").write_text("999999999999\n")

        second = _hold(path)

        assert (path / "lock").read_text() == f"{os.getpid()}\n"
        first.release()
        with pytest.raises(StartupError):
            _hold(path)
        second.release()

    def test_release_without_hold_does_nothing(self, path: Path) -> None:
        """The folder is not made."""
        DataDirectory(path).release()

        assert not path.exists()

    @pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
    def test_the_lock_ends_with_its_holder(
        self, path: Path, ending: signal.Signals, holder: Callable[[Path], subprocess.Popen[bytes]]
    ) -> None:
        """It does not matter which signal ended the holder."""
        child = holder(path)
        child.send_signal(ending)
        child.wait()

        _hold(path).release()

    def test_children_of_the_holder_do_not_keep_the_lock(self, path: Path) -> None:
        """A program that outlives the service does not hold the folder."""
        folder = _hold(path)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
            folder.release()

            _hold(path).release()


def test_a_full_disk_leaves_no_id(tmp_path: Path) -> None:
    """The id is made at the next look; a limit of the size of files stands for the disk."""
    directory, limit = DirectoryId(tmp_path / "id"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            _ = directory.value
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert directory.value == DirectoryId(tmp_path / "id").value
