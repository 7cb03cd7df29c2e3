"""The configuration with which a run is requested."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from smartmob.turrets.model import PERCENTILES, RunConfig
from smartmob.turrets.project import DECODER

OF_OCT = {
    "run_time": 30,
    "results_ts_interval": 10,
    "progress_bar": True,
    "console_logging": False,
    "testing": False,
    "publish_port": 5000,
    "rc_port": 5001,
    "min_turrets": 1,
    "turrets": [
        {"name": "navigation", "cannons": 2, "rampup": 0, "script": "test_scripts/v_user.py"},
        {"name": "old", "canons": 250, "rampup": 30.5, "script": "v_user.py", "specific": {"a": [1]}},
        "turrets/other.json",
    ],
    "turrets_requirements": ["requests"],
    "extra_turret_config": {"user": "me"},
    "results_database": {"db_uri": "default", "params": {}, "insert_limit": "150"},
}
"""A configuration with everything that projects of OCT have."""


def test_a_project_of_oct_is_accepted() -> None:
    """Its further keys are ignored."""
    config = DECODER.decode(json.dumps(OF_OCT))
    assert (config.run_time, config.min_turrets, config.results) == (30, 1, "slices")
    assert [getattr(turret, "name", turret) for turret in config.turrets] == ["navigation", "old", "turrets/other.json"]


def test_only_the_run_time_is_required() -> None:
    """All other keys have defaults."""
    assert DECODER.decode(b'{"run_time": 0.5}') == RunConfig(run_time=0.5)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"run_time": 0}, "run_time"),
        ({"run_time": 1e9}, "run_time"),
        ({"min_turrets": 0}, "min_turrets"),
        ({"results": "both"}, "results"),
        ({"transaction_context": None}, "transaction_context"),
        ({"turrets": [{"cannons": 1}]}, r"turrets\[0\]"),
        ({"wait": 0}, "wait"),
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any], where: str) -> None:
    """The error names the field."""
    with pytest.raises(msgspec.ValidationError, match=where):
        DECODER.decode(json.dumps(OF_OCT | change))


def test_percentiles_have_short_names() -> None:
    """They are keys of answers: 50, 99.9."""
    assert [f"{share:g}" for share in PERCENTILES] == ["50", "75", "80", "90", "95", "99", "99.9", "99.99"]
