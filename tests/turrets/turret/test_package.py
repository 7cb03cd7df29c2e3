"""Turret packages."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.turret import package

PROJECT: dict[str, Any] = {
    "run_time": 30,
    "publish_port": 6000,
    "turrets": [{"name": "first", "cannons": 2, "rampup": 0, "script": "scripts/v_user.py"}, "second.json"],
    "turrets_requirements": ["requests"],
    "extra_turret_config": {"shared": 1},
}


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Return a project with two turrets, one of them in a file of its own."""
    folder = tmp_path / "project"
    (folder / "scripts" / "__pycache__").mkdir(parents=True)
    (folder / "scripts" / "v_user.py").write_text("class Transaction: pass\n")
    (folder / "data").mkdir()
    (folder / "data" / "users.csv").write_text("a\n")
    second = {"name": "second", "canons": 3, "script": "scripts/v_user.py", "extra_files": ["data", "scripts"]}
    (folder / "second.json").write_text(json.dumps(second))
    (folder / "scripts" / "__pycache__" / "x.pyc").write_text("")
    (folder / "config.json").write_text(json.dumps(PROJECT))
    return folder


@pytest.fixture(name="any_python", params=["3.11.4", "3.11.2"])
def _any_python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module `tarfile` be that of a Python version; before 3.11.4 it had no filter."""
    if request.param == "3.11.2":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


def _tar(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def test_each_turret_has_the_shared_keys_of_the_project(project: Path) -> None:
    """And not those that are only for the project."""
    first, second = package.turrets(project)
    assert first == PROJECT["turrets"][0] | {
        "hq_address": "127.0.0.1",
        "hq_publisher": 6000,
        "hq_rc": 5001,
        "shared": 1,
    }
    assert second["name"] == "second"


@pytest.mark.usefixtures("any_python")
def test_a_packed_turret_can_be_unpacked(project: Path, tmp_path: Path) -> None:
    """Configuration, script and further files are in their places."""
    target = tmp_path / "second.tar.gz"
    names = package.pack(project, package.turrets(project)[1], target, setup="# setup")
    assert not any("__pycache__" in name for name in names)
    made = package.from_tar(target, tmp_path / "unpacked", {"hq_rc": 7000})
    assert (made.configuration.cannons, made.configuration.hq_rc, made.given["shared"]) == (3, 7000, 1)
    assert made.script.read_text() == "class Transaction: pass\n"
    assert (tmp_path / "unpacked" / "data" / "users.csv").exists()
    assert (tmp_path / "unpacked" / "setup.py").read_text() == "# setup"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"turrets": []}, r"\$\.turrets"),
        ({"turrets": [5]}, r"\$\.turrets\[0\]"),
        ({"turrets": ["absent.json"]}, "absent.json"),
        ({"turrets": [{"name": "x", "script": "s"}]}, "turret 1 of 1: .*cannons"),
        ({"turrets": [PROJECT["turrets"][0]] * 2}, "names of turrets must differ"),
        ({"extra_turret_config": 5}, "extra_turret_config"),
    ],
)
def test_an_invalid_project_is_refused_with_a_reason(change: dict[str, Any], said: str, project: Path) -> None:
    """The error names the key or the turret."""
    (project / "config.json").write_text(json.dumps(PROJECT | change))
    with pytest.raises(InvalidInput, match=said):
        package.turrets(project)


@pytest.mark.parametrize("change", [{"script": "absent.py"}, {"extra_files": ["absent"]}, {"extra_files": 5}])
def test_a_missing_file_is_not_packed(change: dict[str, Any], project: Path, tmp_path: Path) -> None:
    """Nothing is packed without it."""
    with pytest.raises(InvalidInput, match=r"does not exist|extra_files"):
        package.pack(project, package.turrets(project)[0] | change, tmp_path / "x.tar.gz")
    assert not (tmp_path / "x.tar.gz").exists()


@pytest.mark.usefixtures("any_python")
class TestHostilePackages:
    """Nothing is written outside the folder, and sizes are limited."""

    @pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/tmp/smartmob-outside"])
    def test_a_path_outside_is_not_written(self, name: str, tmp_path: Path) -> None:
        """It is refused, or stays inside."""
        archive = _tar(tmp_path / "x.tar.gz", (name, b"x"))
        try:
            package.unpack(archive, tmp_path / "inside")
        except InvalidInput:
            pass
        assert not (tmp_path / "outside").exists()
        assert not Path("/tmp/smartmob-outside").exists()

    def test_a_link_outside_is_refused(self, tmp_path: Path) -> None:
        """The package is refused."""
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../etc"
        with pytest.raises(InvalidInput, match="is not a turret package"):
            package.unpack(_tar(tmp_path / "x.tar.gz", link), tmp_path / "inside")

    def test_a_large_package_is_refused_before_it_is_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By bytes and by number of files."""
        archive = _tar(tmp_path / "x.tar.gz", ("a", b"x" * 50), ("b", b"x" * 60))
        for name, limit in (("MOST_BYTES", 100), ("MOST_FILES", 1)):
            with monkeypatch.context() as patch:
                patch.setattr(package, name, limit)
                with pytest.raises(InvalidInput, match="more than"):
                    package.unpack(archive, tmp_path / "inside")
        assert not (tmp_path / "inside").exists()

    @pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8b\x08\x00rest"])
    def test_an_invalid_package_is_named(self, content: bytes, tmp_path: Path) -> None:
        """A missing file, and a package without a configuration, are named as well."""
        path = tmp_path / "x.tar"
        with pytest.raises(InvalidInput, match=str(path)):
            package.unpack(path, tmp_path / "inside")
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=str(path)):
            package.unpack(path, tmp_path / "inside")
        _tar(path, ("v_user.py", b""))
        with pytest.raises(InvalidInput, match=r"has no config\.json"):
            package.from_tar(path, tmp_path / "inside")
