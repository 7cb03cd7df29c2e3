"""The estimates of Criterion.rs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.criterion import CriterionReport


def estimate(nanoseconds: float | None) -> Any:
    """Return an estimate."""
    interval = {"confidence_level": 0.95, "lower_bound": 1.0, "upper_bound": 2.0}
    return {"confidence_interval": interval, "point_estimate": nanoseconds, "standard_error": 0.1}


def write(folder: Path, estimates: Any, benchmark: Any = None) -> Path:
    """Write the files of one benchmark as Criterion does, and return the estimates."""
    for name, content in (("new", estimates), ("base", estimates), ("change", {"mean": estimate(0.01)})):
        (folder / name).mkdir(parents=True)
        (folder / name / "estimates.json").write_text(json.dumps(content))
        if benchmark is not None:
            (folder / name / "benchmark.json").write_text(json.dumps(benchmark))
    return folder / "new" / "estimates.json"


def test_the_typical_time_is_the_slope_or_the_mean(tmp_path: Path) -> None:
    """Nanoseconds become seconds; old releases wrote names with capitals. Only the latest run of each counts."""
    described = {"group_id": "sums", "function_id": "add", "value_str": "10", "full_id": "sums/add/10"}
    write(tmp_path / "sums/add/10", {"mean": estimate(300.0), "slope": estimate(250.0)}, described)
    write(tmp_path / "flat", {"mean": estimate(300.0), "slope": None}, {"group_id": "flat", "full_id": "flat"})
    write(tmp_path / "old", {"Mean": estimate(70.0), "Slope": estimate(None)})
    write(tmp_path / "unknown", {"median": estimate(1.0)}, {"group_id": "unknown", "full_id": "unknown"})
    write(tmp_path / "zbroken", [])
    report = CriterionReport(tmp_path)

    cases = {case.variant: case for case in report.cases()}

    assert {name: case.total_time for name, case in cases.items()} == {
        "flat": pytest.approx(300e-9),
        f"{tmp_path.name}/old": pytest.approx(70e-9),
        "sums/add/10": pytest.approx(250e-9),
        "unknown": None,
    }
    assert (cases["sums/add/10"].path, cases["sums/add/10"].name) == ("sums", "add")
    assert all(case.started_at is not None for case in cases.values())
    assert [remark.kind for remark in cases["unknown"].remarks] == ["unread time"]
    assert [remark.kind for remark in report.header.remarks] == ["replaced name", "unread file"]


def test_one_file_is_one_benchmark(tmp_path: Path) -> None:
    """A damaged one is refused."""
    path = write(tmp_path / "flat", {"mean": estimate(300.0)}, {"group_id": "flat", "full_id": "flat"})
    assert CriterionReport.looks_like(path.read_bytes())
    assert [case.total_time for case in CriterionReport(path).cases()] == [pytest.approx(300e-9)]
    path.write_text("{")
    with pytest.raises(InvalidInput):
        list(CriterionReport(path).cases())


def test_a_change_is_no_time(tmp_path: Path) -> None:
    """Its estimates are shares, which would be stored as nanoseconds."""
    latest = write(tmp_path / "flat", {"mean": estimate(300.0)}, {"group_id": "flat", "full_id": "flat"})
    with pytest.raises(InvalidInput, match=r"new/estimates\.json"):
        list(CriterionReport(latest.parents[1] / "change" / "estimates.json").cases())
