"""`smartmob compare-runs`: the real command against a running service."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from smartmob.cli.compare_runs import show
from tests.cli.test_import_load import START, _jtl, _smartmob
from tests.turrets.report.test_page import Page

__all__ = ["_smartmob"]

pytestmark = pytest.mark.timeout(900)


def _file(path: Path, seed: int, factor: float, errors: float = 0.0, count: int = 3000) -> Path:
    chance = random.Random(seed)
    path.write_bytes(
        _jtl(
            [
                (START + n * 20, int(50 * factor * chance.lognormvariate(0, 0.3)), "page", chance.random() >= errors)
                for n in range(count)
            ]
        )
    )
    return path


async def test_three_runs_in_each_format(client: Any, smartmob: Any, tmp_path: Path) -> None:
    """The second has no change, the third is slower: in the table, JSON, Markdown, JUnit and the exit code."""
    files = [_file(tmp_path / f"{n}.jtl", n, factor) for n, factor in enumerate((1.0, 1.0, 1.5))]
    _, output, _ = await smartmob("import-results", *files, "--json")
    runs = [each["run"] for each in json.loads(output)["files"]]

    code, output, errors = await smartmob("compare-runs", *runs, "--fail-on", "slower")
    assert (code, "--fail-on: slower" in errors) == (1, True), errors
    assert "B 1.jtl against A 0.jtl: no change: no difference beyond the variation within the runs.\n" in output
    assert "B 2.jtl against A 0.jtl: slower: p50 of All transactions, " in output, "the verdict stands there once"
    rows = [line.split() for line in output.splitlines() if line.startswith("slower")]
    assert {tuple(row[:2]) for row in rows} == {("slower", "p50"), ("slower", "p95")}
    assert " ".join(rows[0][-2:]) == "All transactions", "a pipe has each figure in a line"
    for twice in ((runs[0], runs[0]), (runs[0], runs[1], runs[1])):
        code, output, errors = await smartmob("compare-runs", *twice)
        assert (code, output, "is a run that is given twice" in errors) == (2, "", True), errors
    code, output, _ = await smartmob("compare-runs", runs[0], runs[1], "--skip", "58")
    assert "cannot tell: 2 whole seconds of A are to be compared, and 8 are needed" in output

    code, output, _ = await smartmob(
        "compare-runs", runs[0], runs[1], "--fail-on", "slower,errors,rate,unfit", "--json"
    )
    assert (code, json.loads(output)["verdict"]) == (0, "same")
    code, output, _ = await smartmob("compare-runs", *runs, "--fail-on", "slower", "--format", "junit")
    suites = ElementTree.fromstring(output)
    assert [suite.get("failures") for suite in suites] == ["0", "4"]
    (first, *_) = suites.iter("failure")
    assert first.get("message", "").startswith("slower: ")
    assert " became " in first.get("message", "")
    code, output, _ = await smartmob("compare-runs", runs[0], runs[2], "--format", "markdown")
    assert code == 0
    assert output.startswith("### B 2")
    assert "| slower | All transactions | p50 |" in output


@pytest.mark.parametrize(("order", "verdict", "sign"), [((1, 0), "slower", "+"), ((0, 1), "faster", "-")])
async def test_the_report_of_two_runs_has_one_direction(
    client: Any, smartmob: Any, tmp_path: Path, order: tuple[int, int], verdict: str, sign: str
) -> None:
    """The verdict, its changes and those of the timers are all A relative to B, and notes name the right run."""
    files = [
        _file(tmp_path / f"{n}.jtl", n, factor, count=count) for n, factor, count in ((0, 1.0, 3000), (1, 1.5, 2400))
    ]
    _, output, _ = await smartmob("import-results", *files, "--json")
    runs = [each["run"] for each in json.loads(output)["files"]]
    a, b = order
    target = tmp_path / "both.html"
    code, _, errors = await smartmob("report", runs[a], "--against", runs[b], "-o", target)
    assert (code, f"Wrote {target}" in errors) == (0, True), errors
    page = Page(target.read_text(encoding="utf-8"))
    text = " ".join(page.texts)
    assert {f"A: {a}.jtl", f"B: {b}.jtl", f"A compared with B: {verdict}."} <= set(page.texts)
    assert "Changes are A relative to B." in text
    fired = re.search(r"Their durations differ: B fired for ([\d.]+) s, A for ([\d.]+) s\.", text)
    assert fired is not None
    assert (float(fired[2]) < float(fired[1])) == (a == 1), "the second file is shorter"

    start = page.texts.index("p50", page.texts.index("verdict"))
    own, other, change, _, word = page.texts[start + 1 : start + 6]
    assert (float(own.split()[0]) > float(other.split()[0]), change[0], word) == (verdict == "slower", sign, verdict)
    table = page.data()["tables"]["timers"]
    (row,) = (row for row in table["rows"] if row[:2] == ["All transactions", "change"])
    assert row[[name for name, *_ in table["columns"]].index("p50")][0] == sign


async def test_runs_of_other_tools_are_not_comparable(client: Any, smartmob: Any, tmp_path: Path) -> None:
    """The reason is told, and only `incomparable` makes it fail; a missing run is a usage error of the server."""
    one = _file(tmp_path / "one.jtl", 1, 1.0)
    other = tmp_path / "two.csv"
    other.write_text(f"metric_name,timestamp,metric_value\nhttp_req_duration,{START // 1000},5\n", encoding="utf-8")
    _, output, _ = await smartmob("import-results", one, other, "--json")
    runs = [each["run"] for each in json.loads(output)["files"]]
    code, output, _ = await smartmob("compare-runs", *runs, "--fail-on", "slower,errors")
    assert code == 0
    assert "fired by different tools: JMeter CSV and k6 CSV" in output
    assert (await smartmob("compare-runs", *runs, "--fail-on", "incomparable"))[0] == 1
    assert (await smartmob("compare-runs", runs[0], "absent"))[0] == 1


def test_a_narrow_terminal_has_a_table_for_each_timer(capsys: pytest.CaptureFixture[str]) -> None:
    """No row is longer than 80 columns, whatever a timer is called, and the reason of what is unfit has a line."""
    figure = {"p": 0.01, "low": 0.1870, "change": 0.2012, "high": 0.2154, "reason": ""}
    errors = figure | {"figure": "errors", "verdict": "more", "first": 0.0, "second": 1.0}
    p99 = figure | {"figure": "p99", "verdict": "unfit", "first": 0.1, "second": 1234.5, "p": None, "reason": "few"}
    timers = [{"timer": name, "figures": [errors, p99]} for name in ("All transactions", "GET /" + "long/" * 13)]
    runs = {"first": {"name": "shop", "id": "1"}, "second": {"name": "shop", "id": "2"}}
    found = {"verdict": "more errors", "reason": "of a", "timers": timers, "only_first": [], "only_second": []}
    found |= {"left_out": 0, "notes": ["Their durations differ: A fired for 10 s, B for 20 s."], **runs}
    show(found, columns=80, everything=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "B shop (2) against A shop (1): more errors: of a."
    assert max(len(line.rstrip()) for line in lines[:-2]) <= 80, lines
    row = next(line.split() for line in lines if line.startswith("more "))
    assert row[2:] == ["0.00%", "100.00%", "+20.12", "points", "+18.70", "…", "+21.54", "points"]
    assert lines[-2].startswith("p99 of All transactions, p99 of GET")
    assert lines[-1].startswith("Their durations differ")
