"""The environments of the other clients are made once, whole, and by one process."""

from __future__ import annotations

import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.environments import InstallationError, Installs, digest, python_with

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]


@pytest.fixture(name="wheel")
def _wheel(tmp_path: Path) -> Path:
    """Return a package that needs no index."""
    path = tmp_path / "fortytwo-1.0-py3-none-any.whl"
    info = "fortytwo-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fortytwo.py", "ANSWER = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: fortytwo\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_several_want_it_at_once(wheel: Path, tmp_path: Path) -> None:
    """One makes it, the others wait and get the same, and it has what was asked for."""
    installs = (("--no-index", str(wheel)),)

    def make(_: int) -> tuple[Path, int, int]:
        python = python_with(installs, tmp_path / "cache")
        made = (python.parents[1] / "pyvenv.cfg").stat()
        return python, made.st_ino, made.st_mtime_ns

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(make, range(4)))

    ((python, _, _),) = found
    said = subprocess.run([python, "-c", "import fortytwo; print(fortytwo.ANSWER)"], capture_output=True, check=True)
    assert said.stdout == b"42\n"


@pytest.mark.long
def test_an_installation_that_fails(wheel: Path, tmp_path: Path) -> None:
    """The error has the last lines of pip, and the next call makes the environment anew."""
    cache = tmp_path / "cache"
    installs = (("--no-index", "--find-links", str(tmp_path / "shelf"), "fortytwo"),)
    (tmp_path / "shelf").mkdir()

    with pytest.raises(InstallationError, match="No matching distribution found for fortytwo"):
        python_with(installs, cache)

    wheel.rename(tmp_path / "shelf" / wheel.name)
    python = python_with(installs, cache)
    assert subprocess.run([python, "-c", "import fortytwo"], check=False).returncode == 0


@pytest.mark.parametrize("other", [(("a==2",),), (("a==1", "b"),), (("a==1",), ("b",)), ()])
def test_other_requirements_are_another_environment(other: Installs) -> None:
    """Each set of requirements, and each order of installing them, has a folder of its own."""
    assert digest((("a==1",),)) == digest([["a==1"]]) != digest(other)
