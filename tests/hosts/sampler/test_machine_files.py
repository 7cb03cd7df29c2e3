"""Small files of the kernel."""

from __future__ import annotations

from pathlib import Path

from smartmob.hosts.sampler import machine_files
from tests.hosts.sampler.trees import write


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    """Missing files, folders, texts in place of numbers and bytes that are no UTF-8 raise nothing."""
    write(tmp_path, {"number": " 42", "text": "max", "folder/": "", "link": "-> a/b/c"})
    (tmp_path / "bytes").write_bytes(b"\xff\xfe5")
    assert machine_files.number_of(tmp_path / "number") == 42
    for name in ("text", "folder", "missing", "bytes", "number/below"):
        assert machine_files.number_of(tmp_path / name) is None
    assert machine_files.text_of(tmp_path / "text") == "max"
    assert machine_files.text_of(tmp_path / "missing") is None
    assert machine_files.names_in(tmp_path / "missing") == []
    assert machine_files.names_in(tmp_path) == ["bytes", "folder", "link", "number", "text"]
    assert machine_files.link_name(tmp_path / "link") == "c"
    assert machine_files.link_name(tmp_path / "text") is None
