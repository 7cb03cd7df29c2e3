"""The load plan of a run in words, and its rate over time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.turrets.load_plan import plan_of
from smartmob.turrets.model import LoadPlan, RunConfig
from smartmob.turrets.protocol import RateStage, TurretPlan
from tests.turrets.report.test_trust import FINE, REPORT

STAGES = [{"seconds": 30, "rate": 10}, {"seconds": 60, "from": 10, "to": 100}, {"rate": 100}]


def _plan(*members: Any, run_time: float = 120.0, warm_up: float = 0.0, **turret: Any) -> LoadPlan:
    document = {"turrets": [{"name": "nav", "cannons": 50, "script": "v.py"} | turret]}
    return plan_of(RunConfig(run_time=run_time, warm_up=warm_up), document, members)


def _member(stages: list[RateStage] | None, **changes: Any) -> Any:
    report = msgspec.structs.replace(REPORT, plan=TurretPlan(stages=stages))
    return msgspec.structs.replace(FINE, **({"report": report} | changes))


def test_an_open_model_in_words() -> None:
    """The stages are read in their order, and the last rate holds to the end."""
    plan = _plan(rate=STAGES, url="http://shop.example/start", warm_up=10.0)
    assert plan.model == "open"
    assert plan.words == [
        "Open model: transactions start at the planned rate, whether or not the target keeps up.",
        "nav: planned rate 10/s for 30 s, then from 10/s to 100/s over 60 s, then 100/s, by at most 50 cannons.",
        "Duration: 2 min, of which the first 10 s are warm-up, which the statistics leave out.",
        "Target: http://shop.example/start (from config.json).",
    ]
    assert plan.rates == [(0.0, 10.0), (30.0, 10.0), (90.0, 100.0), (120.0, 100.0)]


def test_a_closed_model_in_words() -> None:
    """It has cannons, a rampup and a think time instead of a rate."""
    plan = _plan(rampup=5)
    assert (plan.model, plan.rates) == ("closed", [])
    assert plan.words[0].startswith(
        "Closed model: each cannon starts its next transaction when the previous one is over"
    )
    assert plan.words[1] == "nav: 50 cannons, started over 5 s."
    assert plan.words[2].startswith("Think time: none between transactions")


def test_what_turrets_report_is_the_plan() -> None:
    """Their rates are added up, and the configuration of the run is not believed instead."""
    ramp = [RateStage(60.0, 0.0, 30.0)]
    plan = _plan(_member([RateStage(0.0, 5.0, 5.0)]), _member(ramp, uuid="b"), rate=1_000)
    assert plan.rates == [(0.0, 5.0), (60.0, 35.0), (120.0, 35.0)]
    assert "nav: planned rate 5/s, by at most 5 cannons." in plan.words
    both = _plan(_member(None), _member(ramp, uuid="b"))
    assert (both.model, both.words[0][:12]) == ("mixed", "Both models:")


def test_a_total_rate_is_the_plan_of_all_turrets_together() -> None:
    """It takes the place of the rates of the turrets, whatever they report."""
    config = RunConfig(run_time=60.0, total_rate=100.0)
    document = {"turrets": [{"name": "nav", "cannons": 5, "script": "v.py", "rate": 7}]}
    for members, words in (
        ([], "nav: at most 5 cannons."),
        ([_member([RateStage(0.0, 7.0, 7.0)]), _member(None, uuid="b")], "nav, 2 turrets, each: at most 5 cannons."),
    ):
        plan = plan_of(config, document, members)
        assert (plan.model, plan.rates) == ("open", [(0.0, 100.0), (60.0, 100.0)])
        assert plan.words[1:] == [
            "Planned rate: 100/s by all turrets together, in equal shares.",
            words,
            "Duration: 60 s.",
        ]


def test_turrets_that_are_alike_are_one_sentence() -> None:
    """The sentence says how many there are."""
    plan = _plan(_member(None), _member(None, uuid="b"), _member(None, uuid="c"))
    assert "nav, 3 turrets, each: 5 cannons, all started at once." in plan.words


def test_a_turret_of_oct_has_no_rate() -> None:
    """It fires in the closed model, whatever the configuration says."""
    oct_turret: Any = msgspec.structs.replace(FINE, ours=False, report=None)
    assert _plan(oct_turret, rate=10).model == "closed"
    older: Any = msgspec.structs.replace(FINE, report=REPORT)
    assert _plan(older, rate=10).model == "open"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://ann:secret@shop.example:8443/a?token=x#y", "https://shop.example:8443/a"),
        ("shop.example", "shop.example"),
        ("http://[::1", "an address that cannot be read"),
    ],
)
def test_the_target_is_shown_without_secrets(given: str, shown: str) -> None:
    """User, password, query and fragment of an address are left out."""
    assert _plan(url=given).words[-1] == f"Target: {shown} (from config.json)."


@pytest.mark.parametrize("rate", ["10", True, [], [{"seconds": 1}], ["x"], {"rate": 1}, [{"rate": "x"}]])
def test_a_rate_that_a_turret_refuses_is_no_plan(rate: Any) -> None:
    """The page of the run is shown all the same."""
    assert _plan(rate=rate).model == "closed"


@pytest.mark.parametrize("document", [{}, {"turrets": "x"}, {"turrets": ["nav.json", {"cannons": 1}]}])
def test_a_configuration_without_turrets_has_an_unknown_model(document: dict[str, Any]) -> None:
    """Turrets in other files are known when they take part."""
    plan = plan_of(RunConfig(run_time=5.0), document, [])
    assert (plan.model, plan.words) == ("unknown", ["The model is known when a turret takes part.", "Duration: 5 s."])
