"""The far end of `smartmob ab --on`: input that is wrong or cut off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from smartmob.cli.ab_there import Task
from smartmob.cli.side_archives import pack


def _run(data: bytes, tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    variables = {"TMPDIR": str(tmp_path / "files"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-m", "smartmob", "ab", "--from-input"], input=data, capture_output=True, check=False,
        env=variables,
    )  # fmt: skip


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    """Somebody may call it by hand; a connection may break within the files of a side. Nothing is left."""
    (tmp_path / "files").mkdir()
    (tmp_path / "side").mkdir()
    sent = pack(str(tmp_path / "side"), tmp_path, tmp_path / "archive")
    task = msgspec.json.encode(Task([sent], {}))
    for data, said in ((b"", b"started by `smartmob ab --on`"), (task + b"\n123", b"did not arrive completely")):
        done = _run(data, tmp_path)
        assert (done.returncode, done.stdout) == (1, b"")
        assert said in done.stderr
        assert done.stderr.count(b"\n") == 1
    assert list((tmp_path / "files").iterdir()) == []
