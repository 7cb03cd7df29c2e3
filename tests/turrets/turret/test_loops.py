"""The event loop of a turret."""

from __future__ import annotations

from smartmob.turrets.turret import loops


def test_the_loop() -> None:
    """It is uvloop's where that is installed."""
    with loops.runner() as runner:
        assert type(runner.get_loop()).__module__.startswith("uvloop")
