"""The numbers of calls."""

from __future__ import annotations

from pathlib import Path

from tests.commands.features import feature


async def test_no_number_is_used_again_after_a_restart(database_url: str, tmp_path: Path) -> None:
    """Three runs of a service give six calls the next six numbers, because unused ones are given back."""
    seen = []
    for _ in range(3):
        async with feature(database_url, tmp_path) as commands:
            seen += [(await commands.call("cwd")).number for _ in range(2)]
    assert seen == [1, 2, 3, 4, 5, 6]
