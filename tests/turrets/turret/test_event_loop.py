"""The event loop of a turret."""

from __future__ import annotations

from smartmob.turrets.turret import event_loop


def test_uvloop_is_used_where_it_is_installed() -> None:
    """The runner's loop is that of uvloop."""
    with event_loop.runner() as runner:
        assert type(runner.get_loop()).__module__.startswith("uvloop")
