"""Files that commands write in place of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.cli.output_files import replacing
from smartmob.errors import InvalidInput


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    """Until the end of the block the old content can be read; then the new one is there and nothing beside it."""
    target = tmp_path / "report.html"
    target.write_bytes(b"old")

    with replacing(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"

    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """An error inside the block leaves the old content, and no part file."""
    target = tmp_path / "report.html"
    target.write_bytes(b"old")

    with pytest.raises(ZeroDivisionError), replacing(target) as file:
        file.write(b"half")
        raise ZeroDivisionError

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """The error is one line that names the file."""
    with (
        pytest.raises(InvalidInput, match=r"cannot write .*report\.html: No such file"),
        replacing(tmp_path / "missing" / "report.html"),
    ):
        pass
