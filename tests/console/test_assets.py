"""The static files of the pages."""

from __future__ import annotations

import re

import pytest

from smartmob.console import assets


def test_the_digest_of_the_files_is_stable() -> None:
    """The digest is the same at each call."""
    assert re.fullmatch(r"[0-9a-f]{16}", assets.digest())
    assert assets.digest() == assets.digest()


@pytest.mark.parametrize("name", ["", "..", "../service.py", "console", "console.html", "__init__.py"])
def test_only_files_of_the_folder_are_found(name: str) -> None:
    """A name that is no file of the folder, or leads out of it, finds nothing."""
    assert assets.asset(name) is None


def test_each_imported_module_exists() -> None:
    """Each module that a module imports is a file beside it."""
    for name in (name for name in assets._own_files() if name.endswith(".js")):
        text = assets._own_files()[name].decode()
        for imported in re.findall(r'from "\./([\w.]+)"', text):
            assert assets.asset(imported) is not None, f"{name} imports {imported}"
