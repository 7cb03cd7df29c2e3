"""Projects of load tests as packages."""

from __future__ import annotations

import io
import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from smartmob.cli.project_package import pack_project, with_config
from smartmob.errors import InvalidInput
from smartmob.turrets.project_archive import find_config
from tests.cli.firing import _project

__all__ = ["_project"]


class TestPackage:
    """The package of a project."""

    def test_hidden_files_and_results_are_not_packed(self, project: Path) -> None:
        """The configuration comes first; results, packages and hidden files stay where they are."""
        for name in ("results/x/results.html", ".git/config", "nav.tar.gz", "templates/a.html", "turrets/nav.json"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text("x")
        with tarfile.open(fileobj=BytesIO(pack_project(project))) as archive:
            assert archive.getnames() == ["config.json", "test_scripts/v_user.py", "turrets/nav.json"]

    def test_another_configuration_gets_the_usual_name(self, project: Path, tmp_path: Path) -> None:
        """It goes under the usual name."""
        other = tmp_path / "other.json"
        other.write_text('{"run_time": 7}')
        with tarfile.open(fileobj=BytesIO(pack_project(project, other))) as archive:
            file = archive.extractfile("config.json")
            assert file is not None
            assert json.load(file) == {"run_time": 7}

    def test_a_package_is_sent_unchanged(self, project: Path, tmp_path: Path) -> None:
        """It is sent as it is."""
        packed = tmp_path / "project.tar.gz"
        packed.write_bytes(pack_project(project))
        assert pack_project(packed) == packed.read_bytes()

    def test_the_missing_file_of_a_project_is_named(self, tmp_path: Path) -> None:
        """The error names the file that is missing."""
        with pytest.raises(InvalidInput, match=r"config\.json: No such file"):
            pack_project(tmp_path)


def test_a_package_with_another_configuration(project: Path) -> None:
    """All other files stay as they are, also in the folder of a project."""
    package = pack_project(project)
    changed = with_config(package, {"run_time": 5})
    assert json.loads(find_config(changed)) == {"run_time": 5}
    with tarfile.open(fileobj=io.BytesIO(changed)) as archive:
        file = archive.extractfile("test_scripts/v_user.py")
        assert file is not None
        assert file.read() == b"pass\n"
    nested = io.BytesIO()
    with tarfile.open(fileobj=nested, mode="w") as archive:
        archive.add(project, "night")
    assert json.loads(find_config(with_config(nested.getvalue(), {"run_time": 5}))) == {"run_time": 5}
