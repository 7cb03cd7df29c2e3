"""A load test without another terminal: the headquarters that the command starts, and the name of the run."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from smartmob.cli import local_load
from smartmob.client.http import RestClient
from smartmob.errors import RemoteError
from smartmob.turrets.project_archive import find_config


@pytest.mark.parametrize(
    ("project", "name"), [("a/my load", "my load"), ("b.tar.gz", "b"), ("c.tgz", "c"), ("x" * 300, "x" * 200)]
)
def test_the_name_of_a_run(project: str, name: str) -> None:
    """A run is named after the folder of its project, or its package without suffix."""
    assert local_load.name_of(Path(project)) == name


def test_the_name_of_the_folder_that_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project `.` has the name of the working directory."""
    monkeypatch.chdir(tmp_path)
    assert local_load.name_of(Path()) == tmp_path.name


@pytest.mark.parametrize(
    ("config", "name"), [({"run_time": 1}, "load"), ({"name": "night"}, "night"), ({"name": ""}, "load")]
)
def test_a_package_gets_a_name(config: dict[str, Any], name: str) -> None:
    """A configuration without a name gets that of the folder; its own name stays, and so do other files."""
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        for path, content in (("config.json", orjson.dumps(config)), ("v_user.py", b"pass")):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    found = local_load.named(package.getvalue(), Path("load"))
    assert orjson.loads(find_config(found)) == config | {"name": name}
    with tarfile.open(fileobj=io.BytesIO(found)) as archive:
        assert archive.getnames() == ["config.json", "v_user.py"]


async def test_a_headquarters_is_started_where_none_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a headquarters while the block runs, and is gone after it; what was started is told."""
    async with RestClient("http://127.0.0.1:1") as rest, local_load._at_hand(rest) as own:
        assert own is not None
        assert (await own.get("/turrets"))["headquarters"] is not None
    assert "no service answers at http://127.0.0.1:1: starting a headquarters" in capsys.readouterr().err
    async with RestClient(own.url) as rest:
        with pytest.raises(RemoteError, match="cannot connect"):
            await rest.get("/turrets")
