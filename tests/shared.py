"""The folders that all processes of one test run share; they are created before the run and removed after it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

SHARED, POSTGRES = "SMARTMOB_TEST_SHARED", "SMARTMOB_TEST_POSTGRES"
"""The environment variables with the paths of the shared folder and of the PostgreSQL server."""
_TEMPORARY = "TMPDIR"
"""The environment variable with the folder of temporary files.

Commands such as `smartmob demo` have a database there, whose files take four times the processor time on a disk. What
killed programs leave there is removed with the folder.
"""

_NAME = "smartmob-shared"
_MEMORY = Path("/dev/shm")
_DATABASES_BYTES, _FILES_BYTES = 4 * 2**30, 8 * 2**30
"""The free memory without which databases, or other files, are on the disk."""


def quick_folder(enough: int = _DATABASES_BYTES) -> Path | None:
    """Return a folder in memory if there is one with enough space, because each test copies a database."""
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > enough:
        return _MEMORY
    return None


def folder_of_files() -> Path | None:
    """Return a folder in memory for large files and programs that are removed soon, or None for the usual folder.

    The data directories and environments of tests have gigabytes: on a disk they take a third of the processor time.
    """
    quick = quick_folder(_FILES_BYTES)
    return None if quick is None or os.statvfs(quick).f_flag & os.ST_NOEXEC else quick


class Shared:
    """Creates the folders, and removes them."""

    def __init__(self) -> None:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="smartmob-test-", dir=folder_of_files())
        (Path(os.environ[SHARED]) / "pid").write_text(str(os.getpid()))
        os.environ[POSTGRES] = tempfile.mkdtemp(prefix="smartmob-test-", dir=quick_folder())
        self._outer_folder = os.environ.get(_TEMPORARY)
        if folder_of_files() is not None:
            _use_temporary_folder(os.environ[SHARED])

    def pytest_unconfigure(self) -> None:
        """Stop the server of this run, if a test has started it, and remove the folders."""
        _use_temporary_folder(self._outer_folder)
        postgres = Path(os.environ[POSTGRES])
        try:
            os.kill(int((postgres / "home" / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        except (OSError, ValueError):
            pass
        for folder in (postgres, os.environ[SHARED]):
            shutil.rmtree(folder, ignore_errors=True)


def _use_temporary_folder(folder: str | None) -> None:
    """Let this process and its children make their temporary files there, or in the usual folder."""
    if folder is None:
        os.environ.pop(_TEMPORARY, None)
    else:
        os.environ[_TEMPORARY] = folder
    tempfile.tempdir = None  # it was determined before


def share(config: pytest.Config) -> None:
    """Create the folders once in a run, for the tests, the examples of the documentation, or both.

    The folders of the tests (`tmp_path`) are among them: a file on a disk takes ten times as long to create as one in
    memory. The option `--basetemp FOLDER` keeps them in another folder.
    """
    keep_bytecode()
    heed_signals()
    # A run that only collects is often one for another run, whose folders it must leave alone.
    runs = not hasattr(config, "workerinput") and not config.option.collectonly
    if runs and not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Shared(), _NAME)
        if folder_of_files() is not None and config.option.basetemp is None:
            config.option.basetemp = str(Path(os.environ[SHARED]) / "tests")


def keep_bytecode() -> None:
    """Let this process and its children keep the bytecode of modules, also where the environment forbids it.

    Without it each worker compiles the tests anew, which takes 8 seconds, and each command the package.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def heed_signals() -> None:
    """Let this process and its children heed signals that a shell without job control, or nohup, has them ignore."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
