"""The pages of the service itself."""

from __future__ import annotations

import pytest

from smartmob.errors import NotFound
from smartmob.kernel.http import html_pages


def test_scripts_are_those_of_the_pages() -> None:
    """A script is sent by its name; no other file is."""
    assert html_pages.script("login.js").status == 200
    for name in ("page.css", "../gate.py", ""):
        with pytest.raises(NotFound):
            html_pages.script(name)


def test_an_unknown_address_is_shown_short_and_as_text() -> None:
    """A long address is cut, and none is taken as HTML."""
    answer = html_pages.missing("/<script>" + "x" * 1000)
    assert answer.status == 404
    assert "<script>x" not in str(answer.text)  # type: ignore[attr-defined]  # a page has a text
    assert "x" * 300 not in str(answer.text)  # type: ignore[attr-defined]  # a page has a text
