"""`smartmob import-results`: the real command against a running service."""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import run
from tests.turrets.result_files.test_locust_tables import FAILURES_TABLE, HISTORY_TABLE, STATS_TABLE
from tests.turrets.runs import get

pytestmark = pytest.mark.timeout(900)

START = 1_700_000_000_000


@pytest.fixture(name="smartmob")
async def _smartmob(client: Any) -> Any:
    """Return the caller of `smartmob` with the address of a service: exit code, output, errors."""
    address = f"http://127.0.0.1:{client.server.port}"

    async def call(*arguments: str | Path) -> tuple[int, str, str]:
        return await run(*arguments, SMARTMOB_SERVER=address)

    return call


def _rows(count: int = 900) -> list[tuple[int, int, str, bool]]:
    """Return time stamp, milliseconds, label and success of samples."""
    chance = random.Random(7)
    return [
        (START + number * 100, int(chance.lognormvariate(4, 0.6)) + 1, f"page {number % 3}", chance.random() > 0.1)
        for number in range(count)
    ]


def _jtl(rows: list[tuple[int, int, str, bool]]) -> bytes:
    lines = ["timeStamp,elapsed,label,responseCode,responseMessage,success"]
    lines += [
        f"{at},{took},{label},{200 if ok else 503},{'OK' if ok else 'Busy'},{str(ok).lower()}"
        for at, took, label, ok in rows
    ]
    return ("\n".join(lines) + "\n").encode()


async def test_a_file_becomes_a_run_with_report_conditions_and_comparison(
    client: Any, smartmob: Any, tmp_path: Path
) -> None:
    """Counts and percentiles are those of the file; the second import of it, packed, stores nothing."""
    rows = _rows()
    (tmp_path / "night.jtl").write_bytes(_jtl(rows))
    command = ("import-results", tmp_path / "night.jtl", "--fail-if", "errors>1%", "--fail-if", "p99>10s")
    code, _, dry = await smartmob(*command, "--fail-if", "page 1:max<1s", "--dry-run")
    assert (code, "would be stored as run" in dry) == (1, True), dry
    code, output, errors = await smartmob(*command, "--fail-if", "page 1:max<1s")
    assert (code, output) == (1, ""), errors
    told = [[line for line in text.splitlines() if ": it is" in line] for text in (dry, errors)]
    assert told[0] == told[1], "a dry run evaluates the conditions like the service"
    assert "page 1:max<1s: it is" in dry
    assert "stored as run" in errors
    assert "errors>1%: it is" in errors
    assert "p99>10s" not in errors

    (found,) = (await get(client, "/turret-runs"))["runs"]
    summary = await get(client, found["summary"])
    good = sorted(took / 1000 for _, took, _, ok in rows if ok)
    assert (summary["transactions"], summary["errors"]) == (len(rows), len(rows) - len(good))
    whole = summary["timers"]["All transactions"]
    for share in (50, 95, 99):
        expected = good[-(-len(good) * share // 100) - 1]
        assert whole["percentiles"][str(share)] == pytest.approx(expected, rel=0.001)
    assert whole["max"] == good[-1]
    assert {name: row["count"] for name, row in summary["timers"].items() if name != "All transactions"} == {
        f"page {number}": 300 for number in range(3)
    }
    assert summary["error_texts"] == [{"text": "Busy", "count": len(rows) - len(good), "kind": "", "code": "503"}]
    assert (summary["source"]["format"], summary["source"]["file"]) == ("JMeter CSV", "night.jtl")
    assert summary["trust"]["verdict"] == "with care"
    conditions = [(row["condition"], row["state"]) for row in summary["conditions"]]
    assert conditions == [("errors>1%", "failed"), ("p99>10s", "passed"), ("page 1:max<1s", "failed")]
    assert (found["name"], found["started_at"][:19]) == ("night.jtl", "2023-11-14T22:13:20")
    assert summary["duration"] == pytest.approx(max(at + took for at, took, _, _ in rows) / 1000 - START / 1000)

    begin = START // 1000
    for start, links in ((begin - 60, [f"/console/load/{found['id']}"]), (begin + 1000, []), (time.time() - 300, [])):
        timeline = await get(client, f"/console/data/timeline?from={start}&to={start + 600}")
        assert [span["href"] for span in timeline["spans"] if span["lane"] == "load"] == links

    (tmp_path / "other.gz").write_bytes(gzip.compress(_jtl(rows)))
    code, _, errors = await smartmob("import-results", tmp_path / "other.gz", "--strict")
    assert (code, "already stored as run" in errors) == (0, True), errors
    (tmp_path / "next.jtl").write_bytes(_jtl(rows[:500]))
    assert (await smartmob("import-results", tmp_path / "next.jtl"))[0] == 0
    runs = (await get(client, "/turret-runs"))["runs"]
    assert len(runs) == 2
    page = tmp_path / "both.html"
    assert (await smartmob("report", runs[0]["id"], "--against", runs[1]["id"], "-o", page))[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "night.jtl" in text
    assert "A compared with B: " in text
    assert "95 % interval" in text
    later = [(at + (7_200_000 if place >= 250 else 0), *row) for place, (at, *row) in enumerate(rows[:500])]
    packed = gzip.compress(_jtl(later))
    (tmp_path / "cut.jtl.gz").write_bytes(packed[:-6])
    code, _, errors = await smartmob("import-results", tmp_path / "cut.jtl.gz", "--strict")
    assert (code, "1 cut off: the end of the packed file is missing" in errors) == (1, True), errors
    summary = await get(client, (await get(client, "/turret-runs"))["runs"][0]["summary"])
    assert (summary["transactions"], summary["trust"]["verdict"]) == (500, "no")
    doubt = next(doubt for doubt in summary["trust"]["doubts"] if "No request was under way" in doubt["what"])
    assert doubt["level"] == "bad"
    assert doubt["what"] in errors
    async with client.post(f"/turret-runs/{found['id']}/rebuild") as response:
        assert (await response.json())["transactions"] == len(rows)


async def test_the_tables_of_locust_are_one_run(client: Any, smartmob: Any, tmp_path: Path) -> None:
    """Its statistics are shown as they are given; the report says that there are no samples."""
    for name, text in (("stats", STATS_TABLE), ("stats_history", HISTORY_TABLE), ("failures", FAILURES_TABLE)):
        (tmp_path / f"x_{name}.csv").write_text(text, encoding="utf-8")
    conditions = ("--fail-if", "stdev>1s", "--fail-if", "p99>1ms", "--fail-if", "errors>50%")
    code, _, errors = await smartmob("import-results", tmp_path, "--dry-run", *conditions)
    assert (code, "stdev>1s: All transactions has no stdev in this run" in errors) == (1, True), errors
    assert ("p99>1ms: it is 250.0 ms" in errors, "errors>50%" in errors) == (True, False), errors
    code, _, errors = await smartmob("import-results", tmp_path, "--dry-run", "--fail-if", "untrusted")
    assert (code, "--fail-if untrusted needs the verdict of the service" in errors) == (2, True), errors
    code, output, errors = await smartmob("import-results", tmp_path, "--json")
    assert code == 0, output
    (document,) = json.loads(output)["files"]
    assert (document["stored"], document["transactions"], document["errors"]) == (True, 100, 5)

    run = await get(client, f"/turret-runs/{document['run']}")
    assert (run["name"], run["state"], run["package"], run["source"]["aggregated"]) == ("x", "finished", False, True)
    summary = await get(client, run["summary"])
    assert summary["timers"]["All transactions"]["percentiles"]["99"] == 0.25
    assert any("as given" in doubt["what"] for doubt in summary["trust"]["doubts"])
    assert "Errors: 5 failed (5.00%), 95 OK." in summary["trust"]["facts"], "its durations are those of failures, too"
    course = await get(client, f"/turret-runs/{run['id']}/course")
    assert [point["at"] for point in course["points"]] == list(range(10))
    assert run["source"]["users"] == [[0.0, 0], [5.0, 8], [10.0, 8]]
    assert run["plan"]["words"][1:] == [
        "Fired by Locust; the file states neither a planned rate nor the think time.",
        "Users: at most 8.",
        "Duration: 10 s.",
    ]
    assert not [fact for fact in summary["trust"]["facts"] if "urret" in fact]
    assert (await smartmob("report", run["id"], "-o", tmp_path / "page.html"))[0] == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(part in page for part in ("Throughput, failures and users", "Latency from p50", "has no distribution"))
    assert not [part for part in (">Turrets<", "turrets</span>", 'id="heat-0"', 'id="failed-heat-0"') if part in page]
    await get(client, f"/turret-runs/{run['id']}/package", status=404)


async def test_what_cannot_be_read_is_one_line_and_the_rest_is_stored(
    client: Any, smartmob: Any, tmp_path: Path
) -> None:
    """Nothing of the bad file is stored; --dry-run asks no service."""
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "none.jtl").write_text("timeStamp,elapsed,label,success\nsoon,1,a,true\n")
    (tmp_path / "good.jtl").write_bytes(_jtl(_rows(10)))
    files = [tmp_path / name for name in ("bad.csv", "none.jtl", "good.jtl", "absent.jtl")]
    code, _, errors = await smartmob("import-results", *files, "--dry-run")
    assert code == 1
    lines = errors.splitlines()
    assert "--format" in lines[0]
    assert "1 without a valid time, the first is soon a" in lines[1]
    assert "would be stored" in lines[2]
    assert "No such file" in lines[3]
    assert (await get(client, "/turret-runs"))["runs"] == []


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([{}], "first line must have the head"),
        ([{"head": True}], "has no transaction"),
        ([{"head": True}, {"head": True}], "only the first line"),
        ([{"head": True}, {"given": {}}], "must be aggregated"),
        ([{"head": {"fail_if": ["fast"]}}], "is not a condition"),
        ([{"head": True}, {"slices": [{"second": 99}]}], "after the end"),
        ([{"head": True}, {"slices": [{"count": 1, "histogram": "x"}]}], "histogram"),
    ],
)
async def test_a_client_that_sends_nonsense_is_refused(client: Any, lines: list[Any], reason: str) -> None:
    """Nothing of the import is stored, also not what came before."""
    head = {"format": "x", "digest": "0" * 32, "duration": 10.0}
    part = {"second": 1, "timer": "", "total": 0, "squares": 0, "minimum": 0, "maximum": 0, "histogram": ""}
    body = b""
    for line in lines:
        given = line.get("head")
        sent = {"head": head | (given if isinstance(given, dict) else {})} if given else line
        if "slices" in line:
            sent = {"slices": [part | {"count": 0} | line["slices"][0]]}
        body += json.dumps(sent).encode() + b"\n"
    headers = {"Content-Type": "application/x-ndjson"}
    async with client.post("/turret-runs/imports", data=body, headers=headers) as response:
        problem = await response.json()
    assert response.status == 400, problem
    assert reason in json.dumps(problem)
    assert (await get(client, "/turret-runs"))["runs"] == []
