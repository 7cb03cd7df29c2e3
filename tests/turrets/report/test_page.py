"""The page of a report: complete, on its own, and safe whatever texts are in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from msgspec import structs

from smartmob import chart_library
from smartmob.turrets.model import ConditionResult, Doubt, LoadPlan, Trust
from smartmob.turrets.report.findings import Findings
from smartmob.turrets.report.fired import ReportedLoad
from smartmob.turrets.report.page import LONGEST_PAGE, compare, packed, render
from smartmob.turrets.slices import TRANSACTION
from tests.turrets.messages import slice_of
from tests.turrets.report.runs import HOSTILE, calm, failing, found, large


class Page(HTMLParser):
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

    def data(self) -> Any:
        """Return the data of the page, as its script unpacks them."""
        return json.loads(gzip.decompress(base64.b64decode(self.scripts[0])))


@pytest.fixture(name="page", scope="module")
def _page() -> Page:
    return Page(render(*found()))


def test_the_page_has_all_parts(page: Page) -> None:
    """Statistics of each timer, intervals, errors, turrets, health, and a place for each chart are there."""
    for text in ("All transactions", "page", "Errors", "Turrets", "Can this run be trusted?", "p99.99", "OK", "nav"):
        assert any(text in found for found in page.texts), text
    charts = page.data()["charts"]
    places = {attributes.get("id") for _, attributes in page.elements}
    assert set(charts) <= places
    assert set(charts) >= {"throughput", "curves", "heat-0", "latency-0", "latency-1", "cpu-0", "lag-0", "memory-0"}


def test_the_load_of_each_run_is_shown() -> None:
    """The target, the project and the configuration are in the file, and a hostile name stays text."""
    loads = [
        ReportedLoad(["http://shop.example"], HOSTILE, ["v_user.py"], '{"name": "x"}'),
        ReportedLoad([], "cart", [], ""),
    ]
    page = Page(render(*found(), loads[:1]))
    for text in ("Target: http://shop.example", f"Project: {HOSTILE}", "Scripts: v_user.py", '{"name": "x"}'):
        assert text in page.texts
    page = Page(compare(found(), found(), None, loads))
    assert {"Target: http://shop.example", "Target: not in the configuration", "Project: cart"} <= set(page.texts)
    assert page.texts.count("The whole configuration") == 1


def test_conditions_are_shown_for_each_run() -> None:
    """With their results; a text of a timer cannot break the page, and a run without conditions has no such part."""
    summary, *rest = found()
    row = ConditionResult(condition=f"{HOSTILE}:p99>1s", state="failed", text=f"{HOSTILE}: p99 2.00 s > 1.00 s")
    judged = structs.replace(summary, conditions=[structs.replace(row, aborted=True)])
    page = Page(compare((judged, *rest), found()))
    places = {attributes.get("id") for _, attributes in page.elements}
    assert ("conditionsA" in places, "conditionsB" in places) == (True, False)
    for text in ("Conditions of A", "failed, stopped the run", row.condition, row.text):
        assert text in page.texts


def test_the_page_loads_nothing(page: Page) -> None:
    """No element has an address, and the policy of the page forbids loading."""
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "href", "srcset")]
    assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "img", "form")] == []
    policy = next(attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'")
    assert base64.b64decode(page.scripts[1]) == chart_library.packed()


def test_the_page_of_a_large_run_is_small_and_complete() -> None:
    """With 1,001 timers and 2,260 different errors it is below 1 MB, has all, and says what it does not draw."""
    text = render(*large())
    page = Page(text)
    assert len(text.encode()) < 1_000_000
    tables = page.data()["tables"]
    assert len(tables["timers"]["rows"]) == 1_001
    assert len(tables["errors-0"]["rows"]) == 2_260
    assert {"and 950 more rows", "and 2,209 more different errors"} <= set(page.texts)
    (charted,) = (found for found in page.texts if "have a chart of their own" in found)
    assert charted.startswith("20 of 1,001 timers have a chart of their own")


def test_a_page_with_too_much_is_made_with_less() -> None:
    """Error texts that cannot be compressed are left out from the rarest on, and the page says how many and where."""
    summary, findings, health = large(timers=300)
    failed = findings.timers[TRANSACTION].whole.failed
    for number in range(20_000):
        failed.fail(hashlib.sha256(str(number).encode()).hexdigest(), 1)
    text = compare((summary, findings, health), (summary, findings, health))
    assert len(text.encode()) < LONGEST_PAGE
    page = Page(text)
    said = [text for text in page.texts if text.startswith("Left out for their size: ")]
    assert len(said) == 2
    assert f"GET /turret-runs/{summary.id}/errors has all" in said[0]
    left = int(said[0].split()[5].replace(",", ""))
    assert len(page.data()["tables"]["errors-0"]["rows"]) + left == 22_260


def test_a_run_that_goes_on_is_not_judged() -> None:
    """The page says that it is preliminary, and when the verdict comes."""
    page = Page(render(*found(state="running", trust=Trust("not yet", []))))
    (said,) = (text for text in page.texts if text.startswith("Can this run be trusted?"))
    assert "Not known yet: the run has not ended, and these are its first 10 s. Load the page again" in " ".join(
        said.split()
    )
    waiting = Page(render(*found(state="waiting", started_at=None, trust=Trust("not yet", []))))
    assert any("the run has not begun" in text for text in waiting.texts)


def test_the_load_plan_and_the_facts_are_there() -> None:
    """They are sentences of the summary."""
    plan = LoadPlan(model="open", words=["Open model: x.", "nav: planned rate 5/s."])
    page = Page(render(*found(plan=plan, trust=Trust("yes", [], ["Sample: 20 transactions."]))))
    assert {"Open model: x.", "nav: planned rate 5/s.", "Sample: 20 transactions."} <= set(page.texts)


def test_ok_and_failed_are_apart_on_the_whole_page() -> None:
    """Failures have durations, a chart by code, and errors by timer, kind and code; bytes are in the summary."""
    page = Page(render(*failing()))
    data = page.data()
    assert {"codes-0", "failed-heat-0"} <= set(data["charts"]) & {each.get("id") for _, each in page.elements}
    assert {"p99 of successful transactions", "2.4 MB", "1.5 kB", "Durations of failures"} <= set(page.texts)
    assert [row[0] for row in data["tables"]["failures"]["rows"]] == ["All transactions", "404"]
    assert [row[:5] for row in data["tables"]["errors-0"]["rows"]] == [
        [timer, "HttpError", code, f"status {code}", 5]
        for timer in ("All transactions", "404")
        for code in ("404", "503")
    ]
    fine = Page(render(*calm()))
    assert "Durations of failures" not in fine.texts
    assert not [name for name in fine.data()["charts"] if "codes" in name or "failed" in name]


def test_what_a_run_does_not_have_is_no_empty_chart() -> None:
    """A run without a success, or without a result, has only the charts that have values, and the page says why."""
    findings = Findings(10.0, 5.0)
    findings.add([slice_of(second, [], errors={"boom": 2}, failed=True, untimed=2) for second in range(10)])
    findings.close()
    failed = structs.replace(found()[0], timers=findings.all_stats(), errors=20, intervals=findings.all_intervals())
    for run, charts, words in (
        ((failed, findings, []), {"throughput", "codes-0"}, "No transaction succeeded"),
        (
            (structs.replace(failed, timers=Findings(10.0, 5.0).all_stats(), turrets=[]), Findings(10.0, 5.0), []),
            {"throughput"},
            "There is no result",
        ),
    ):
        page = Page(render(*run))
        assert set(page.data()["charts"]) == charts
        drawn = {attributes["id"] for _, attributes in page.elements if attributes.get("class") == "chart"}
        assert drawn == charts
        assert any(words in text for text in page.texts)
    assert "None took part." in page.texts


def test_hostile_texts_are_shown_as_texts() -> None:
    """Names and error texts make no elements."""
    trust = Trust("no", [Doubt("bad", HOSTILE)])
    page = Page(render(*found(name=HOSTILE, timer=HOSTILE, reason=HOSTILE, trust=trust)))
    assert len(page.scripts) == 3
    assert sum(HOSTILE in text for text in page.texts) >= 5
    assert not any("alert" in str(value) for _, attributes in page.elements for value in attributes.values())
    assert page.data()["tables"]["timers"]["rows"][1][0] == HOSTILE


def test_two_runs_are_shown_side_by_side() -> None:
    """Both verdicts, both statistics and their differences are there."""
    page = Page(compare(found("before"), found("after", timer="other")))
    assert {"A: before", "B: after"} <= set(page.texts)
    assert sum("Can this run be trusted?" in text for text in page.texts) == 2
    assert {"page", "other", "same", "change"} <= set(page.texts)
    assert {"heat-0", "heat-1", "cpu-1"} <= set(page.data()["charts"])


def test_each_color_has_a_dark_one() -> None:
    """No line is lost on a dark page."""
    page = Page(compare(found(), found()))
    drawn, dark = page.data()["charts"], page.data()["dark"]
    colors = set(re.findall(r'"(#[0-9a-f]{3,6})"', json.dumps(drawn)))
    assert len(colors) > 10
    assert colors <= set(dark)
    assert not set(dark.values()) & colors


def test_data_in_a_script_cannot_end_it() -> None:
    """It is the same data, in characters that cannot end the script."""
    document = {"a": HOSTILE, "b": "\u2028<!--\u2029"}
    text = packed(document)
    assert json.loads(gzip.decompress(base64.b64decode(text))) == document
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", text)
