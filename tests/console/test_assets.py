"""The files that pages load."""

from __future__ import annotations

import re

import pytest

from smartmob.console import assets


def test_what_the_policy_must_let_in() -> None:
    """The library brings one style sheet along; a new release that brings another is noticed here."""
    assert len(assets.plotly_styles()) == 1
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{43}=", digest) for digest in assets.plotly_styles())


def test_the_digest_stands_for_all_files() -> None:
    """It is the same at each call."""
    assert re.fullmatch(r"[0-9a-f]{16}", assets.digest())
    assert assets.digest() == assets.digest()


@pytest.mark.parametrize("name", ["", "..", "../service.py", "console", "console.html", "__init__.py"])
def test_only_files_of_the_folder(name: str) -> None:
    """Nothing else has a name there."""
    assert assets.asset(name) is None


def test_modules_are_all_there() -> None:
    """What a module imports is a file beside it."""
    for name in (name for name in assets._own() if name.endswith(".js")):
        text = assets._own()[name].decode()
        for imported in re.findall(r'from "\./([\w.]+)"', text):
            assert assets.asset(imported) is not None, f"{name} imports {imported}"
