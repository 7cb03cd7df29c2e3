"""`smartmob compare-runs`: the real command against a running service."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.test_import_load import START, _jtl, _smartmob

__all__ = ["_smartmob"]

pytestmark = pytest.mark.timeout(900)


def _file(path: Path, seed: int, factor: float, errors: float = 0.0) -> Path:
    chance = random.Random(seed)
    path.write_bytes(
        _jtl(
            [
                (START + n * 20, int(50 * factor * chance.lognormvariate(0, 0.3)), "page", chance.random() >= errors)
                for n in range(3000)
            ]
        )
    )
    return path


async def test_three_runs_in_each_format(client: Any, smartmob: Any, tmp_path: Path) -> None:
    """The second is the same, the third is slower: in the table, JSON, Markdown, JUnit and the exit code."""
    files = [_file(tmp_path / f"{n}.jtl", n, factor) for n, factor in enumerate((1.0, 1.0, 1.5))]
    _, output, _ = await smartmob("import-results", *files, "--json")
    runs = [each["run"] for each in json.loads(output)["files"]]

    code, output, errors = await smartmob("compare-runs", *runs, "--fail-on", "slower")
    assert (code, "--fail-on: slower" in errors) == (1, True), errors
    assert "B 1.jtl against A 0.jtl: same" in output
    assert "slower: p50 of All transactions" in output

    code, output, _ = await smartmob(
        "compare-runs", runs[0], runs[1], "--fail-on", "slower,errors,rate,unfit", "--json"
    )
    assert (code, json.loads(output)["verdict"]) == (0, "same")
    code, output, _ = await smartmob("compare-runs", *runs, "--fail-on", "slower", "--format", "junit")
    suites = ElementTree.fromstring(output)
    assert [suite.get("failures") for suite in suites] == ["0", "4"]
    code, output, _ = await smartmob("compare-runs", runs[0], runs[2], "--format", "markdown")
    assert code == 0
    assert output.startswith("### B 2")
    assert "| slower | All transactions | p50 |" in output


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
