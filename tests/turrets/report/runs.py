"""Runs for the tests of reports, made of slices without a service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from smartmob.turrets.model import Counters, Summary, Trust
from smartmob.turrets.protocol import ErrorKind
from smartmob.turrets.report.charts import RunData
from smartmob.turrets.report.findings import Findings
from tests.turrets.messages import slice_of
from tests.turrets.report.test_trust import FINE

STARTED = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script><b>&amp;"


def found(name: str = "night", timer: str = "page", warm_up: float = 0.0, **changes: Any) -> RunData:
    """Return a run of ten seconds with a timer, an error and the health of a turret."""
    findings = Findings(10.0, 5.0, warm_up)
    for second in range(10):
        findings.add(
            [slice_of(second, [0.01, 0.02 * (second + 1)], errors={HOSTILE: 1}), slice_of(second, [0.005], timer)]
        )
    findings.close()
    health = [
        {"at": STARTED + timedelta(seconds=second), "uuid": FINE.uuid, "users": second, "cpu": 0.5, "busiest": 0.4,
         "lag": 0.001, "memory": 30 * 2**20, "late_starts": 0}
        for second in range(1, 11)
    ]  # fmt: skip
    summary = Summary(
        id="01a20788", name=name, state="finished", reason=None, started_at=STARTED,
        ended_at=STARTED + timedelta(seconds=12), duration=10.0, interval=5.0, transactions=20, errors=10, rate=2.0,
        timers=findings.all_stats(), intervals=findings.all_intervals(), error_texts=findings.error_texts(),
        turrets=[FINE], counters=Counters(), trust=Trust("yes", []),
    )  # fmt: skip
    return msgspec.structs.replace(summary, **changes), findings, health


def calm() -> RunData:
    """Return a run without an error."""
    findings = Findings(10.0, 5.0)
    findings.add([slice_of(0, [0.01])])
    findings.close()
    timers, intervals = findings.all_stats(), findings.all_intervals()
    return msgspec.structs.replace(found()[0], errors=0, timers=timers, intervals=intervals), findings, []


def failing() -> RunData:
    """Return a run of ten seconds that succeeded, then failed with two codes, also within a timer."""
    findings = Findings(10.0, 5.0)
    for second in range(10):
        kind = ErrorKind("HttpError", "503" if second % 2 else "404")
        error = {f"status {kind.code}": 1}
        if second < 4:
            findings.add([slice_of(second, [0.01] * 5)])
        findings.add([slice_of(second, [2.0], errors=error, failed=True, kind=kind)])
        findings.add([slice_of(second, [1.0], "404", errors=error, failed=True, kind=kind)])
    findings.close()
    own = findings.stats("")
    changes: dict[str, Any] = {
        **{"transactions": own.count, "errors": own.errors, "rate": own.rate, "sent": 1_500, "received": 2_400_000},
        **{"timers": findings.all_stats(), "intervals": findings.all_intervals()},
    }
    return msgspec.structs.replace(found()[0], **changes), findings, []


def large(timers: int = 1_000, errors: int = 2_260, seconds: int = 40) -> RunData:
    """Return a run with many timers, of which each has a value in each tenth second, and many different errors."""
    findings = Findings(float(seconds), 10.0)
    each = -(-errors // seconds)
    for second in range(seconds):
        texts = range(second * each, min(errors, (second + 1) * each))
        findings.add([slice_of(second, [0.02] * 20, errors={f"refused by 10.0.0.{text}": 1 for text in texts})])
        findings.add(
            slice_of(second, [(second % 7 + 1) * 0.001 * (timer % 50 + 1)], f"GET /things/{timer:04d}")
            for timer in range(second % 10, timers, 10)
        )
    findings.close()
    own = findings.stats("")
    changes: dict[str, Any] = {
        **{"duration": float(seconds), "interval": 10.0, "transactions": own.count, "errors": own.errors},
        **{"rate": own.rate, "timers": findings.all_stats(), "intervals": findings.all_intervals()},
        **{"error_texts": findings.error_texts()},
    }
    return msgspec.structs.replace(found()[0], **changes), findings, []
