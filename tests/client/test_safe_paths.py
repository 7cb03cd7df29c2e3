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
    """A link in the place of a folder is an error, one in that of a part is passed over; nothing is written there."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "part").symlink_to(outside / "file")
    with pytest.raises(OSError), safe_paths.partial_file(safe_paths.below(root, "link/file")):
        pass
    with safe_paths.partial_file(safe_paths.below(root, "file"), "part") as part:
        part.file.write(b"content")
        part.finish(0o600)
    assert (root / "file").read_bytes() == b"content"
    assert not list(outside.iterdir())
