"""Places of files below a folder, under names that a server has chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.client import safe_paths
from smartmob.client.failures import ClientError


@pytest.mark.parametrize("inner", ["/etc/x", "../x", "a/../x", "", ".", "a//b", "a/", "nul\0", 7, None])
def test_a_name_that_leaves_the_folder_is_refused(inner: object) -> None:
    """A name that is absolute, goes up, is empty or is no text is refused."""
    with pytest.raises(ClientError, match="not a path below a folder"):
        safe_paths.below(Path("root"), inner)


def test_no_link_is_followed(tmp_path: Path) -> None:
    """A link in path of a folder or of a file's beginning is an error, and where it leads nothing is written."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / f"file{safe_paths.PART}").symlink_to(outside / "file")
    for inner in ("link/file", "file"):
        with pytest.raises(OSError), safe_paths.partial_file(safe_paths.below(root, inner)):
            pass
    assert not list(outside.iterdir())
