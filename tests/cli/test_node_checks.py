"""The checks of `smartmob doctor --on`."""

from __future__ import annotations

from typing import Any

from smartmob.cli.node_checks import findings


def _node(connected: bool = True, drained: bool = False, **facts: Any) -> dict[str, Any]:
    known = {"version": "1.0", "clock_offset": 0.001, "clock_delay": 0.002}
    return {"connected": connected, "drained": drained, "facts": known | facts}


def _levels(node: dict[str, Any]) -> dict[str, str]:
    return {found["name"]: found["level"] for found in findings(node, "1.0")}


def test_facts_of_a_node_are_judged() -> None:
    """A lost link and a clock that is surely wrong are bad, another version is a warning."""
    assert _levels(_node()) == {"link": "good", "version": "good", "clock": "good"}
    assert _levels(_node(version="0.9"))["version"] == "warning"
    assert _levels(_node(clock_offset=-0.6, clock_delay=0.1))["clock"] == "bad"
    assert _levels(_node(clock_offset=0.6, clock_delay=0.3))["clock"] == "good"
    assert _levels(_node(connected=False, version="", clock_offset=None, clock_delay=None)) == {"link": "bad"}
    assert findings(_node(drained=True), "1.0")[0]["said"] == "connected, drained"
