"""Figures that cannot be measured: their description, and changes."""

from __future__ import annotations

from smartmob.hosts.fields import Snapshot, StaleField
from smartmob.hosts.sampler.stale_fields import StaleChanges, stale_text
from tests.hosts.samples import snapshot

GONE = StaleField(7.0, 12.4, "/data: No such file or directory")


def _with(*names: str) -> Snapshot:
    return snapshot(stale=dict.fromkeys(names, GONE))


def test_one_line_names_all_stale_fields() -> None:
    """Each has its age, if it was ever measured, and the reason; sensors without any value are left out."""
    never = {"cpu": StaleField(reason="Permission denied"), "temperatures.iwlwifi 0": StaleField(reason="off")}
    found = snapshot(stale={"storage": GONE, **never})
    assert stale_text(found) == (
        "storage is stale for 12 s (/data: No such file or directory); cpu is stale (Permission denied)"
    )
    assert stale_text(snapshot()) == ""


def test_a_change_is_told_once() -> None:
    """A figure that comes and goes is mentioned again only after ten minutes."""
    now = 100.0
    changes = StaleChanges(lambda: now)
    told = []
    for names in (("storage",), ("storage", "cpu"), ("storage",), (), ("storage",), ()):
        now += 1
        told.append([name for name, _ in changes.of(_with(*names))])
    assert told == [["storage"], ["cpu"], ["cpu"], ["storage"], [], []]
    now += 600
    assert list(changes.of(_with("storage"))) == [("storage", GONE)]
