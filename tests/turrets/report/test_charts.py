"""The charts: plotly itself takes them, and they show what was found."""

from __future__ import annotations

import math

import msgspec
import plotly.graph_objects as go

from smartmob.turrets.model import ImportSource, LoadPlan, Member
from smartmob.turrets.protocol import ErrorKind
from smartmob.turrets.report import charts
from smartmob.turrets.report.charts import RunData
from smartmob.turrets.report.findings import Findings
from smartmob.turrets.report.page import charts_of
from tests.turrets.messages import slice_of
from tests.turrets.report.runs import HOSTILE, calm, found
from tests.turrets.report.test_trust import FINE


def _all(runs: list[RunData]) -> list[charts.Chart]:
    drawn = [charts.throughput(runs), charts.curves(["", "page"], runs)]
    drawn += [charts.latency("", runs), charts.latency("page", runs), charts.heat(runs[0])]
    return drawn + [charts.turret_health(runs[0], column, 1.0, "s") for column in ("busiest", "lag", "memory")]


def test_plotly_accepts_all_charts() -> None:
    """Traces and layouts have only known properties, for one run, for two, and for an empty one."""
    empty: RunData = (found()[0], Findings(0.0, 5.0), [])
    for runs in ([found()], [found(), found()], [empty], [found(), empty]):
        for chart in _all(runs):
            go.Figure(data=chart["data"], layout=chart["layout"])


def test_all_traces_are_svg() -> None:
    """They print sharply and need no code generated at run time."""
    kinds = {trace["type"] for chart in _all([found()]) for trace in chart["data"]}
    assert kinds == {"scatter", "heatmap"}


def test_the_throughput_has_failures_and_cannons_over_time() -> None:
    """Transactions, failed and OK, and cannons over time."""
    rate, errors, ok, users = charts.throughput([found()])["data"]
    assert (rate["y"], errors["y"], ok["y"]) == ([2.0] * 10, [1.0] * 10, [1.0] * 10)
    assert [trace["name"] for trace in (rate, errors, ok)] == ["achieved/s", "failed/s", "OK/s"]
    assert (users["x"], users["y"]) == ([float(n) for n in range(1, 11)], list(range(1, 11)))


def test_the_planned_rate_is_a_line_of_its_own() -> None:
    """It ends with the firing, at the value that the plan has there."""
    plan = LoadPlan(model="open", words=[], rates=[(0.0, 0.0), (20.0, 40.0), (60.0, 40.0)])
    (planned,) = (trace for trace in charts.throughput([found(plan=plan)])["data"] if trace["name"] == "planned/s")
    assert (planned["x"], planned["y"], planned["line"]["dash"]) == ([0, 10], [0, 20], "dash")


def test_the_warm_up_is_marked() -> None:
    """Each chart over time has it, and charts without one have no mark."""
    run = found(warm_up=3.0)
    over_time = [charts.throughput([run]), charts.latency("", [run]), charts.heat(run)]
    for chart in (*over_time, charts.turret_health(run, "lag", 1.0, "s")):
        (mark,) = chart["layout"]["shapes"]
        assert (mark["x0"], mark["x1"]) == (0, 3)
        assert chart["layout"]["annotations"][0]["text"] == "warm-up"
    assert charts.throughput([found()])["layout"]["shapes"] == []
    assert charts.curves([""], [run])["layout"]["shapes"] == []


def test_the_rampup_of_oct_turrets() -> None:
    """They do not tell how many cannons fire, so the plan is shown."""
    member: Member = msgspec.structs.replace(FINE, ours=False, cannons=10, rampup=5.0)
    summary, findings, _ = found(turrets=[member])
    users = charts.throughput([(summary, findings, [])])["data"][3]
    assert (users["y"][0], users["y"][-2:], users["x"][-1]) == (1, [10, 0], 10.0)
    assert users["y"][:-1] == sorted(users["y"][:-1])


def test_cannons_of_both_kinds() -> None:
    """Those that turrets of smartmob told of and the planned ones of turrets of OCT are added up."""
    oct_turret: Member = msgspec.structs.replace(FINE, uuid="s", ours=False, cannons=4, rampup=0.0)
    summary, findings, health = found(turrets=[FINE, oct_turret])
    chart = charts.throughput([(summary, findings, health)])
    users = dict(zip(chart["data"][3]["x"], chart["data"][3]["y"], strict=True))
    assert (users[0.0], users[1.0], users[9.0]) == (4, 5, 13)
    assert chart["layout"]["yaxis2"]["dtick"] == 5


def test_a_target_that_stood_still() -> None:
    """Seconds in which nothing ended are a rate of nothing, and a gap in the latency rather than a line over it."""
    findings = Findings(6.0, 6.0)
    findings.add([slice_of(second, [0.01]) for second in (0, 1, 3, 5, 6)])
    findings.close()
    run: RunData = (found()[0], findings, [])
    rate = charts.throughput([run])["data"][0]
    assert (rate["x"], rate["y"]) == ([0, 1, 2, 3, 4, 5], [1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    longest = charts.latency("", [run])["data"][3]
    assert longest["y"] == [10.0, 10.0, None, 10.0, None, 10.0, 10.0]
    assert (longest["mode"], longest["marker"]["size"]) == ("lines+markers", [0, 0, 0, 5, 0, 0, 0])


def test_latency_is_in_milliseconds() -> None:
    """The longest of each second is shown."""
    longest = charts.latency("", [found()])["data"][3]
    assert longest["y"] == [20.0 * (second + 1) for second in range(10)]


def test_the_lines_of_two_runs_differ() -> None:
    """They differ by name and by dash."""
    data = charts.latency("", [found(), found()])["data"]
    assert [trace["name"] for trace in data[::4]] == ["p50 A", "p50 B"]
    assert {trace["line"]["dash"] for trace in data} == {"solid", "dot"}


def test_names_contain_no_tags() -> None:
    """Plotly interprets tags in names, so they are escaped."""
    for chart in (charts.curves(["", HOSTILE], [found(timer=HOSTILE)]), charts.throughput([found(name=HOSTILE)])):
        assert not any("<" in trace["name"] for trace in chart["data"])


def _failing(codes: int = 12) -> RunData:
    """Return a run in which only the first second has a success, and the third has errors with different codes."""
    findings = Findings(4.0, 5.0)
    findings.add([slice_of(0, [0.1])])
    for number in range(codes):
        kind = ErrorKind("HttpError", str(500 + number))
        texts = {f"status {500 + number}": codes - number}
        findings.add([slice_of(2, [2.0] * (codes - number), errors=texts, failed=True, kind=kind)])
    findings.close()
    return msgspec.structs.replace(found()[0], errors=1), findings, []


def test_errors_over_time_are_stacked_by_code() -> None:
    """The most frequent codes have an area each, and the others one together: the sum is that of all failures."""
    traces = charts.codes(_failing())["data"]
    assert [trace["name"] for trace in traces] == ["500", "501", "502", "503", "504", "505", "506", "(others)"]
    assert {trace["stackgroup"] for trace in traces} == {"codes"}
    assert traces[0]["y"] == [0, 0, 12, 0]
    assert sum(trace["y"][2] for trace in traces) == 12 * 13 / 2
    go.Figure(data=traces, layout=charts.codes(_failing())["layout"])


def test_a_second_without_a_success_is_a_gap_and_failures_have_lines_of_their_own() -> None:
    """No duration is drawn where nothing succeeded, and without a failure there is no line of failures."""
    lines = {trace["name"]: trace for trace in charts.latency("", [_failing()])["data"]}
    assert [*lines] == ["p50", "p95", "p99", "max", "failed p50", "failed p99"]
    assert lines["p50"]["y"] == [100, None, None, None]
    assert (lines["failed p99"]["y"], lines["failed p99"]["line"]["dash"]) == ([None, None, 2000, None], "dash")
    assert len(charts.latency("page", [found()])["data"]) == 4
    failed = charts.curves([""], [_failing()])["data"][-1]
    assert (failed["name"], failed["y"][-1]) == ("All transactions, failed", 2000)
    cells = charts.heat(_failing(), failed=True)["data"][0]
    assert (cells["x"], [row[:2] for row in cells["z"]]) == ([0, 1, 2, 3], [[None, None]])
    assert cells["y"][0] <= 2000 < cells["y"][1], "a cell lies between its edges"


def test_a_heat_map_of_equal_durations_is_a_line_in_its_middle() -> None:
    """Its one row does not fill the chart, its colours begin at 0, and its time is that of the run."""
    chart = charts.heat(calm())
    low, high = chart["layout"]["yaxis"]["range"]
    edges = [math.log10(value) for value in chart["data"][0]["y"]]
    assert low + 0.2 < edges[0] < edges[1] < high - 0.2
    assert (chart["data"][0]["zmin"], chart["data"][0]["zmax"]) == (0, 1)
    assert (chart["data"][0]["z"], chart["layout"]["xaxis"]["range"]) == ([[1]], [0, 10])


def test_the_users_of_another_tool_and_the_cannons_have_a_chart() -> None:
    """It is for pages that draw the throughput themselves; a run of which no number is known has none."""
    source = ImportSource("JMeter CSV", "night.jtl", "0" * 32, users=[(0.0, 1), (5.0, 7)])
    summary, findings, _ = calm()
    run = msgspec.structs.replace(summary, source=source, turrets=[]), findings, []
    (line,) = charts_of(run)["users-0"]["data"]
    assert (line["name"], line["x"], line["y"]) == ("users", [0, 5], [1, 7])
    assert charts_of(found())["users-0"]["data"][0]["name"] == "cannons"
    unknown = msgspec.structs.replace(source, users=[])
    assert "users-0" not in charts_of((msgspec.structs.replace(run[0], source=unknown), findings, []))
