"""The templates and headers of pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import smartmob.console
from smartmob.console import assets, pages

FOLDER = Path(smartmob.console.__file__).parent / "templates"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir() if path.name != "layout.html"))
def test_every_template_escapes_its_values(name: str) -> None:
    """Each template renders with the values that all pages have, and escapes them."""
    text = pages.render(name, "Overview", "<title>", signed_in="ci", role="read", news=7, id='"<id>', measured=True)
    assert "&lt;title&gt;" in text
    assert 'data-id="&#34;&lt;id&gt;"' in text
    assert "<title>&lt;title&gt; · smartmob</title>" in text


def test_the_policy_allows_only_files_of_the_service() -> None:
    """The policy allows no other origin and nothing inline; pages with charts may use one style sheet by its hash."""
    plain, charts = (pages.headers(charts=wanted)["Content-Security-Policy"] for wanted in (False, True))
    assert "style-src 'self';" in plain
    assert "style-src 'self' 'sha256-" in charts
    assert "unsafe" not in charts


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir() if path.name != "layout.html"))
def test_a_page_names_all_modules_that_its_scripts_import(name: str) -> None:
    """A browser requests them at once, and does not learn of one only from another."""
    text = pages.render(name, "Overview", "Title", signed_in="ci", role="read", news=7, id="id", measured=True)
    scripts = set(re.findall(r'<script type="module" src="/console/static/[0-9a-f]{16}/([\w.]+)"', text))
    named = set(re.findall(r'<link rel="modulepreload" href="/console/static/[0-9a-f]{16}/([\w.]+)"', text))
    imported, before = scripts, set[str]()
    while imported != before:
        before = imported
        sources = [_source(script) for script in before]
        imported = before.union(*(re.findall(r'from "\./([\w.]+)"', source) for source in sources))
    assert len(scripts) == 2
    assert named == imported - scripts


def _source(name: str) -> str:
    found = assets.asset(name)
    assert found is not None, name
    return found.plain().decode()
