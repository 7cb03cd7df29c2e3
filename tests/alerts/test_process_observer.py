"""Processes that keep ending."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.alerts.process_observer import HEALTHY_SECONDS, ProcessObserver
from smartmob.processes import model
from smartmob.processes.model import Definition, ProcessSnapshot
from tests.alerts.samples import NOW, rule


def _process(slug: str, state: str, uptime: float | None = None, last_status: int | None = None) -> ProcessSnapshot:
    definition = Definition(
        slug=slug, app="a", node="n", process_type="web", source_url="", env={}, grace=1.0, created_at=NOW
    )
    nothing: dict[str, Any] = dict.fromkeys(("downloaded", "pid", "port", "started_at", "next_try_at", "sample"))
    return ProcessSnapshot(
        definition=definition,
        state=state,
        detail="",
        output=[],
        uptime=uptime,
        restarts=3,
        last_status=last_status,
        viewers=0,
        **nothing,
    )


@pytest.mark.parametrize(
    ("state", "uptime", "health"),
    [
        (model.BACKOFF, None, "bad"),
        (model.NO_PROCFILE, None, "bad"),
        (model.PIP_INSTALL_FAILURE, None, "bad"),
        (model.RUNNING, HEALTHY_SECONDS - 1, "unknown"),
        (model.RUNNING, HEALTHY_SECONDS, "good"),
        (model.PENDING, None, "unknown"),
        (model.STOPPED, None, "good"),
    ],
)
def test_a_process_is_bad_until_it_has_run_for_a_while(state: str, uptime: float | None, health: str) -> None:
    """A program that ends every half minute is one alert and not one for each restart."""

    class Processes:
        def processes(self) -> list[ProcessSnapshot]:
            return [_process("web.1", state, uptime, -9), _process("other", state, uptime)]

    found = ProcessObserver(Processes()).observe(rule(subjects=["web.*"]))
    assert [(each.subject, str(each.health)) for each in found.found] == [("web.1", health)]
    assert found.complete
    if state == model.BACKOFF:
        assert found.found[0].summary == "the program web.1 keeps ending, last with signal 9"
