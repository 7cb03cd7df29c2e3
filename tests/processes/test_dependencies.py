"""The dependencies between processes: conditions, cycles and suggestions."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.processes import dependencies, model
from smartmob.processes.dependencies import Peer, Peers, StartVerdict

CHECKED = model.Options(readiness=model.HealthCheck(tcp=1))


def _peer(**changes: Any) -> Peer:
    return Peer(**({"slug": "a.db.0", "node": "db.0", "process_type": "db", "state": model.PENDING} | changes))


@pytest.mark.parametrize(
    ("condition", "peer", "verdict"),
    [
        ("started", {}, "waits"),
        ("started", {"state": model.BACKOFF, "has_started": True}, ""),
        ("started", {"state": model.STOPPED, "completed": True}, ""),
        ("started", {"state": model.STOPPED}, "waits"),
        ("started", {"state": model.STOPPED, "ended": True, "end": "no file"}, "failed"),
        ("started", {"state": model.PIP_INSTALL_FAILURE}, "failed"),
        ("ready", {"state": model.PENDING}, "waits"),
        ("ready", {"state": model.RUNNING, "options": CHECKED}, "waits"),
        ("ready", {"state": model.RUNNING, "options": CHECKED, "ready": True}, ""),
        ("ready", {"state": model.RUNNING, "options": model.Options(), "ready": True}, "failed"),
        ("ready", {"state": model.STOPPED, "options": CHECKED, "ended": True, "end": "exited 1"}, "failed"),
        ("ready", {"state": model.DEPENDENCY_FAILURE, "options": CHECKED}, "failed"),
        ("completed", {"state": model.RUNNING, "options": model.Options(restart="never")}, "waits"),
        ("completed", {"state": model.RUNNING, "options": model.Options()}, "failed"),
        ("completed", {"state": model.STOPPED, "completed": True, "options": model.Options()}, ""),
        ("completed", {"state": model.STOPPED, "ended": True, "end": "exited 1"}, "failed"),
        ("completed", {"state": model.STOPPED}, "waits"),
        ("completed", {"state": model.NO_PROCFILE}, "failed"),
    ],
)
def test_each_condition_looks_at_the_state_of_the_other_process(
    condition: model.Condition, peer: dict[str, Any], verdict: str
) -> None:
    """It is met, waited for, or fails for good with the name of the process in the reason."""
    found = dependencies.verdict({"db": condition}, Peers([_peer(**peer)]))
    assert [name for name in ("waits", "failed") if getattr(found, name)] == ([verdict] if verdict else [])
    assert "a.db.0" in found.waits + found.failed or found == StartVerdict()


def test_a_name_is_a_node_or_a_type() -> None:
    """A type means all its processes; all that is missing is named, and a failure comes before waiting."""
    peers = [_peer(has_started=True), _peer(slug="a.db.1", node="db.1")]
    assert dependencies.verdict({"db.0": "started"}, Peers(peers)) == StartVerdict()
    waits = dependencies.verdict({"db": "started", "cache": "ready"}, Peers(peers)).waits
    assert waits == "waits for a.db.1 to be started (pending), cache, which does not exist"
    peers.append(_peer(slug="a.db.2", node="db.2", state=model.NO_PROCFILE))
    assert dependencies.verdict({"cache": "ready", "db": "started"}, Peers(peers)).failed


def test_a_cycle_is_found_with_its_way() -> None:
    """A process that only depends on a cycle is not in it."""
    graph = {"a": ["b", "x"], "b": ["c"], "c": ["a", "b"], "d": ["a"], "s": ["s"]}
    assert dependencies.cycle("a", graph) == ["a", "b", "c", "a"]
    assert dependencies.cycle("d", graph) == []
    assert dependencies.cycle("s", graph) == ["s", "s"]
    assert dependencies.shown_cycle(["a", "b", "a"]) == "it depends on itself: a -> b -> a"
    web = _peer(slug="a.web.0", node="web.0", process_type="web", options=model.Options(depends_on={"db.0": "started"}))
    db = _peer(options=model.Options(depends_on={"web": "ready"}))
    job = _peer(slug="a.job", node="job", process_type="job", options=model.Options(depends_on={"web": "ready"}))
    peers = Peers([web, db, job, _peer(slug="a.x", node="x", process_type="x")])
    assert peers.cycle("a.web.0") == ["a.web.0", "a.db.0", "a.web.0"]
    assert peers.cycle("a.job") == peers.cycle("a.x") == []


def test_many_processes_that_depend_on_many_cost_their_sum() -> None:
    """A long chain and a thousand processes of each type are searched in an instant."""
    graph = {number: [number + 1] for number in range(100_000)}
    assert dependencies.cycle(0, graph) == []
    options = model.Options(depends_on={"db": "started"})
    peers = Peers(
        [_peer(slug=f"a.db.{n}", node=f"db.{n}") for n in range(1000)]
        + [_peer(slug=f"a.w.{n}", node=f"w.{n}", process_type="w", options=options) for n in range(1000)]
    )
    assert peers.cycle("a.w.0") == []
    assert dependencies.verdict(options.depends_on, peers).waits.endswith(" and 990 more")


def test_a_similar_name_is_suggested() -> None:
    """By its case or its letters."""
    assert dependencies.suggestion("Web", ["db", "web"]) == "it has db, web; did you mean 'web'?"
    assert dependencies.suggestion("x", []) == "it has none"
