"""The report of a search and its chart."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import msgspec

from smartmob.turrets.capacity.model import StoredSearch
from smartmob.turrets.capacity.search_page import knee, render_search
from tests.turrets.capacity_searches import search_document

_SVG = "{http://www.w3.org/2000/svg}"


def _stored(**changes: Any) -> StoredSearch:
    now = datetime(2026, 1, 2, tzinfo=UTC).isoformat()
    further = {"id": "s", "created_at": now, "changed_at": now, "report": "/capacity-searches/s/report"}
    return msgspec.convert(search_document(**changes) | further, StoredSearch)


def test_the_chart_has_each_step_and_the_bracket() -> None:
    """Points are in the order of the rates, from left to right; the band is between those of the bracket."""
    drawn = ElementTree.fromstring(knee(_stored()))
    points = [each for each in drawn.iter(f"{_SVG}circle") if each.find(f"{_SVG}title") is not None]
    assert len(points) == 2 * 4
    places = {each.findtext(f"{_SVG}title", "").split("/s")[0]: float(each.get("cx", "")) for each in points}
    assert places["10"] < places["20"] < places["30"] < places["40"]
    (band,) = [each for each in drawn.iter(f"{_SVG}rect") if each.get("class") == "band"]
    left, width = float(band.get("x", "")), float(band.get("width", ""))
    assert abs(left - places["20"]) < 0.2
    assert abs(left + width - places["40"]) < 0.2


def test_the_slowest_step_is_the_highest_point() -> None:
    """The height shows the p99, and below the share of errors."""
    drawn = ElementTree.fromstring(knee(_stored()))
    points = [each for each in drawn.iter(f"{_SVG}circle") if each.find(f"{_SVG}title") is not None]
    upper, lower = points[:4], points[4:]
    for part in (upper, lower):
        highest = min(part, key=lambda each: float(each.get("cy", "")))
        assert highest.findtext(f"{_SVG}title", "").startswith("40/s: conditions not met, p99 1.20 s, 3.00% errors")


def test_the_page_tells_the_result_and_links_each_run() -> None:
    """Texts of clients are escaped."""
    page = render_search(_stored(name="<b>shop</b>"))
    assert "20/s held p99&lt;300ms in 3 of 3 steps." in page
    assert "Limit: the processors of web1: 91% busy at 40/s." in page
    assert page.count('href="/turret-runs/0198c9a0-0000-7000-8000-000000000001/report"') == 4
    assert "&lt;b&gt;shop&lt;/b&gt;" in page
    assert "it is &lt;b&gt;1.2&lt;/b&gt; s" in page
    assert "<b>1.2" not in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)


def test_a_search_without_steps_or_result() -> None:
    """The page of a search that goes on says so."""
    page = render_search(_stored(steps=[], result=None))
    assert "No step has ended yet." in page
    assert "the search has not ended" in page
    assert 'class="band"' not in knee(_stored(result=None)).replace(".band", "")


def test_a_step_without_a_success() -> None:
    """It has no latency, but errors."""
    steps = search_document()["steps"]
    steps[2] |= {"p50": None, "p95": None, "p99": None, "errors": 1.0}
    drawn = ElementTree.fromstring(knee(_stored(steps=steps)))
    assert len([each for each in drawn.iter(f"{_SVG}circle") if each.find(f"{_SVG}title") is not None]) == 3 + 4
