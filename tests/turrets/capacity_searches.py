"""Capacity searches as their program stores them."""

from __future__ import annotations

from typing import Any


def search_document(**changes: Any) -> dict[str, Any]:
    """Return a search that has found a capacity."""

    def step(rate: float, outcome: str, p99: float, errors: float = 0.0, *reasons: str) -> dict[str, Any]:
        return {
            **{"run": "0198c9a0-0000-7000-8000-000000000001", "rate": rate, "achieved": rate, "outcome": outcome},
            **{"reasons": list(reasons), "p50": p99 / 4, "p95": p99 / 2, "p99": p99, "errors": errors},
            **{"transactions": int(rate * 10), "target_cpu": 91.0},
        }

    return {
        "name": "shop",
        "settings": {
            **{"conditions": ["p99<300ms", "errors<1%"], "start_rate": 10.0, "max_rate": 1000.0, "growth": 2.0},
            **{"resolution": 0.05, "repeats": 3, "step_time": 10.0, "warm_up": 2.0, "cool_down": 2.0},
            **{"max_time": 900.0, "target_host": "web1"},
        },
        "steps": [
            step(10.0, "held", 0.02),
            step(20.0, "held", 0.05),
            step(40.0, "broken", 1.2, 0.03, "p99<300ms: it is <b>1.2</b> s"),
            step(30.0, "saturated", 0.5, 0.0, "turret t stood still"),
        ],
        "result": {
            **{"ending": "found", "held": 20.0, "refused": 40.0, "holds": 3, "steps": 3, "confidence": (0.44, 1.0)},
            **{
                "limit": "the processors of web1: 91% busy at 40/s",
                "words": "20/s held p99<300ms in 3 of 3 steps",
            },
        },
    } | changes
