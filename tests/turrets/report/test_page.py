"""The page of a report: complete, on its own, and safe whatever texts are in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from msgspec import structs

from smartmob.turrets.model import ConditionResult, Doubt, Trust
from smartmob.turrets.report.page import as_script, change, compare, render
from tests.turrets.report.test_charts import HOSTILE, found


class _Page(HTMLParser):
    """Gathers the elements and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif data.strip() and self._inside != "style":
            self.texts.append(data.strip())


@pytest.fixture(name="page", scope="module")
def _page() -> _Page:
    return _Page(render(*found()))


def test_the_page_has_all_parts(page: _Page) -> None:
    """Statistics of each timer, intervals, errors, turrets, health, and a place for each chart are there."""
    for text in ("All transactions", "page", "Errors", "Turrets", "Can I trust this run?", "p99.99", "from", "nav"):
        assert any(text in found for found in page.texts), text
    charts = json.loads(page.scripts[1])
    places = {attributes.get("id") for _, attributes in page.elements}
    assert set(charts) <= places
    assert set(charts) >= {"throughput", "curves", "heat-0", "latency-0", "latency-1", "cpu-0", "lag-0", "memory-0"}


def test_conditions_are_shown_for_each_run() -> None:
    """With their results; a text of a timer cannot break the page, and a run without conditions has no such part."""
    summary, *rest = found()
    row = ConditionResult(condition=f"{HOSTILE}:p99>1s", state="failed", text=f"{HOSTILE}: p99 2.00 s > 1.00 s")
    judged = structs.replace(summary, conditions=[structs.replace(row, aborted=True)])
    page = _Page(compare((judged, *rest), found()))
    places = {attributes.get("id") for _, attributes in page.elements}
    assert ("conditionsA" in places, "conditionsB" in places) == (True, False)
    for text in ("Conditions of A", "failed, stopped the run", row.condition, row.text):
        assert text in page.texts


def test_the_page_loads_nothing(page: _Page) -> None:
    """No element has an address, and the policy of the page forbids loading."""
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "href", "srcset")]
    assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "img", "form")] == []
    policy = next(attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'")
    assert len(page.scripts[0]) > 1_000_000


def test_hostile_texts_are_shown_as_texts() -> None:
    """Names and error texts make no elements."""
    trust = Trust("no", [Doubt("bad", HOSTILE)])
    page = _Page(render(*found(name=HOSTILE, timer=HOSTILE, reason=HOSTILE, trust=trust)))
    assert len(page.scripts) == 4
    assert sum(HOSTILE in text for text in page.texts) >= 5
    assert not any("alert" in str(value) for _, attributes in page.elements for value in attributes.values())
    json.loads(page.scripts[1])


def test_two_runs_are_shown_side_by_side() -> None:
    """Both verdicts, both statistics and their differences are there."""
    page = _Page(compare(found("before"), found("after", timer="other")))
    assert {"A: before", "B: after"} <= set(page.texts)
    assert sum("Can I trust this run?" in text for text in page.texts) == 2
    assert {"page", "other", "same"} <= set(page.texts)
    assert {"heat-0", "heat-1", "cpu-1"} <= set(json.loads(page.scripts[1]))


def test_each_color_has_a_dark_one() -> None:
    """No line is lost on a dark page."""
    page = _Page(compare(found(), found()))
    drawn, dark = json.loads(page.scripts[1]), json.loads(page.scripts[2])
    colors = set(re.findall(r'"(#[0-9a-f]{3,6})"', json.dumps(drawn)))
    assert len(colors) > 10
    assert colors <= set(dark)
    assert not set(dark.values()) & colors


def test_data_in_a_script_cannot_end_it() -> None:
    """It is the same data, without the characters that could end the script."""
    document = {"a": HOSTILE, "b": "\u2028<!--\u2029"}
    text = as_script(document)
    assert json.loads(text) == document
    assert not set("<>&\u2028\u2029") & set(text)


@pytest.mark.parametrize(
    ("new", "old", "shown"),
    [(1.1, 1.0, "+10.0%"), (0.5, 1.0, "-50.0%"), (1.001, 1.0, "same"), (1.0, 0.0, ""), (None, 1.0, "")],
)
def test_a_change_is_a_share_of_the_old_value(new: float | None, old: float | None, shown: str) -> None:
    """Small changes are the same, and a missing value has no change."""
    assert change(new, old) == shown
