"""The data directory and its lock, with real processes that hold it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smartmob.errors import StartupError
from smartmob.kernel.runtime.datadir import DataDirectory

_HOLDER = """
import sys
from pathlib import Path
from smartmob.kernel.runtime.datadir import DataDirectory
folder = DataDirectory(Path(sys.argv[1]))
folder.hold()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="holder")
def _holder() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Return the starter of processes that hold a folder until their standard input ends."""
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

    def test_it_is_made(self, path: Path) -> None:
        """It is made with the folders above it, and nobody but its owner can list it or read its lock."""
        folder = _hold(path)

        assert path.is_dir()
        assert path.stat().st_mode & 0o066 == 0
        assert (path / "lock").stat().st_mode & 0o777 == 0o600
        folder.release()

    @pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
    def test_one_that_exists_keeps_its_permissions(self, path: Path, mode: int) -> None:
        """Its owner has decided who may enter."""
        path.mkdir(parents=True)
        path.chmod(mode)

        _hold(path).release()

        assert path.stat().st_mode & 0o777 == mode

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        """The error names the path, the reason and the option."""
        path = tmp_path / "file"
        path.write_text("")

        with pytest.raises(StartupError, match=r"/file cannot be used: Not a directory\..*--data-dir"):
            _hold(path)

    def test_below_a_file(self, tmp_path: Path) -> None:
        """A folder that cannot be made is told in the same words."""
        (tmp_path / "file").write_text("")

        with pytest.raises(StartupError, match=r"/file/data cannot be used: Not a directory"):
            _hold(tmp_path / "file" / "data")

    def test_free_bytes(self, tmp_path: Path) -> None:
        """It tells the feature on its own disk."""
        figures = os.statvfs(tmp_path)

        assert 0 < DataDirectory(tmp_path).free_bytes() <= figures.f_blocks * figures.f_frsize


class TestLock:
    """One service at a time."""

    def test_a_second_service(self, path: Path, holder: Callable[[Path], subprocess.Popen[bytes]]) -> None:
        """It is told which process holds the folder, and what to do."""
        child = holder(path)

        with pytest.raises(StartupError, match=rf"in use by .*\(process {child.pid}\).*--data-dir"):
            _hold(path)

    def test_a_second_service_of_this_process(self, path: Path) -> None:
        """It makes no difference where the second one runs."""
        first = _hold(path)

        with pytest.raises(StartupError, match=rf"\(process {os.getpid()}\)"):
            _hold(path)
        first.release()

    def test_a_holder_that_says_nothing(self, path: Path) -> None:
        """Between taking the lock and writing its number the holder is not known."""
        first = _hold(path)
        os.truncate(path / "lock", 0)

        with pytest.raises(StartupError, match=r"another smartmob service\. Stop that one"):
            _hold(path)
        first.release()

    def test_after_the_release(self, path: Path) -> None:
        """The next service gets the folder, and the number of a former holder is gone."""
        (first := _hold(path)).release()
        (path / "lock").write_text("999999999999\n")

        second = _hold(path)

        assert (path / "lock").read_text() == f"{os.getpid()}\n"
        first.release()
        with pytest.raises(StartupError):
            _hold(path)
        second.release()

    def test_release_without_hold(self, path: Path) -> None:
        """It does nothing."""
        DataDirectory(path).release()

        assert not path.exists()

    @pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
    def test_after_the_death_of_the_holder(
        self, path: Path, ending: signal.Signals, holder: Callable[[Path], subprocess.Popen[bytes]]
    ) -> None:
        """However it ended, its lock went with it."""
        child = holder(path)
        child.send_signal(ending)
        child.wait()

        _hold(path).release()

    def test_children_do_not_keep_it(self, path: Path) -> None:
        """A program that the service started and that outlives it does not hold the folder."""
        folder = _hold(path)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
            folder.release()

            _hold(path).release()
