"""The observers of all kinds of conditions."""

from __future__ import annotations

from pathlib import Path

from smartmob.alerts.conditions import parse
from smartmob.alerts.observers import Observers
from smartmob.kernel.runtime import disk
from tests.alerts.samples import NOW, Watched, rule


async def test_the_free_space_of_the_service_is_observed(tmp_path: Path) -> None:
    """The subject is the service's machine, the value the free bytes of the disk of its data."""
    observers = Observers(Watched(), "lab", tmp_path, 0.0)
    free = disk.free_bytes(tmp_path)
    for text, health in ((f"service.free < {free * 2}", "bad"), ("service.free < 1", "good")):
        condition = parse(text)
        await observers.read(0.0, NOW, [condition])
        [found] = observers.observe(rule(condition=text), condition).found
        assert (found.subject, found.health) == ("lab", health)
        assert not observers.observe(rule(subjects=["other"]), condition).found
