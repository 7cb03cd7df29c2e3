"""Summaries of the steps of capacity searches."""

from __future__ import annotations

from typing import Any

from smartmob.turrets.model import ALL_TRANSACTIONS


def summary(
    *, p99: float = 0.1, errors: int = 0, error_texts: tuple[tuple[int, str], ...] = (), count: int = 1_000, **run: Any
) -> dict[str, Any]:
    """Return a summary; keys beginning with `report_` change the report of its turret, with `member_` the turret."""
    report = {
        **{"transactions": count, "never_started": 0, "late_starts": 0, "lateness": 0.0, "dropped": 0, "paused": 0.0},
        **{key.removeprefix("report_"): value for key, value in run.items() if key.startswith("report_")},
    }
    member = {
        **{"name": "t", "ours": True, "alive": True, "lost": [], "status": "ready", "cannons": 400, "busiest": 0.2},
        **{"lag": 0.01, "report": report},
        **{key.removeprefix("member_"): value for key, value in run.items() if key.startswith("member_")},
    }
    stats = {
        **{"count": count, "errors": errors, "late": 0, "avg": 0.05, "max": 1.0, "min": 0.01, "stdev": 0.1},
        "percentiles": {"50": 0.02, "95": 0.08, "99": p99},
    }
    if errors >= count:
        stats["percentiles"] = {}
    return {
        **{"id": "r", "state": run.get("state", "finished"), "reason": run.get("reason"), "transactions": count},
        **{"errors": errors, "timers": {ALL_TRANSACTIONS: stats}, "turrets": [member]},
        "error_texts": [{"count": number, "text": "", "kind": "", "code": code} for number, code in error_texts],
        "machines": run.get("machines", []),
        "trust": {"verdict": "yes", "doubts": []},
    }
