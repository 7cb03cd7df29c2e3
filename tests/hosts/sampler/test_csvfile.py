"""The file server_system_load.csv."""

from __future__ import annotations

from pathlib import Path

import structlog

from smartmob.hosts.sampler.csvfile import HEAD, NAME, LoadCsv
from tests.hosts.samples import snapshot


def test_a_line_has_time_load_memory_and_storage(tmp_path: Path) -> None:
    """The header of the seed stands once; each line has time, load, and memory and storage in MB or nothing."""
    file = LoadCsv(tmp_path, 10_000, 2)
    file.write(snapshot(at=1_795_400_000.7))
    LoadCsv(tmp_path, 10_000, 2).write(snapshot(at=1_795_400_001.7, cpu=0.0))
    LoadCsv(tmp_path, 10_000, 2).write(snapshot(at=1_795_400_002.7, memory=None, storage=None))
    assert (tmp_path / NAME).read_text() == (
        "time;cpu load;memory load;storage\n2026-11-23T02:13:20Z;12.5;3072;25600\n2026-11-23T02:13:21Z;0.0;3072;25600\n"
        "2026-11-23T02:13:22Z;12.5;;\n"
    )


def test_a_full_file_is_rotated(tmp_path: Path) -> None:
    """A full file gets a number, the newest ones are kept, and each begins with the header."""
    file = LoadCsv(tmp_path, 300, 2)
    for second in range(40):
        file.write(snapshot(at=1_795_400_000.0 + second))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [NAME, f"{NAME}.1", f"{NAME}.2"]
    texts = [(tmp_path / name).read_text() for name in reversed(names)]
    assert all(text.startswith(HEAD) and len(text) <= 300 for text in texts)
    lines = [line for text in texts for line in text.splitlines()[1:]]
    assert lines == sorted(lines)
    assert lines[-1].startswith("2026-11-23T02:13:59Z")


def test_a_full_file_is_replaced_where_none_is_kept(tmp_path: Path) -> None:
    """Without old files a full one is started again."""
    file = LoadCsv(tmp_path, 300, 0)
    for second in range(20):
        file.write(snapshot(at=1_795_400_000.0 + second))
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_failure_to_write_is_logged_once(tmp_path: Path) -> None:
    """It is logged once, and later lines are written when that is possible."""
    (tmp_path / NAME).mkdir()
    file = LoadCsv(tmp_path, 10_000, 2)
    with structlog.testing.capture_logs() as logs:
        file.write(snapshot())
        file.write(snapshot())
    assert [event["event"] for event in logs] == ["hosts.load_file_failed"]
    (tmp_path / NAME).rmdir()
    file.write(snapshot())
    assert len((tmp_path / NAME).read_text().splitlines()) == 2
