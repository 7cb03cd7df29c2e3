"""The list of the public keys of turrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import SettingsError
from smartmob.turrets.hq.key_list import read_keys


@pytest.mark.parametrize("text", ["short name", "x" * 41, "\u00e9" * 40, '"' * 40])
def test_a_line_without_a_key_is_an_error(text: str, tmp_path: Path) -> None:
    """The error names the line."""
    file = tmp_path / "turrets"
    file.write_text(f"# keys\n{text}\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_keys(file)


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    """The error says that the file does not exist."""
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_keys(tmp_path / "nothing")
