"""The event loop of a turret."""

from __future__ import annotations

from smartmob.turrets.turret import event_loop


def test_the_loop() -> None:
    """It is uvloop's where that is installed."""
    with event_loop.runner() as runner:
        assert type(runner.get_loop()).__module__.startswith("uvloop")
