"""Numbers of options."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

import smartmob.cli
from smartmob.cli.number_options import Number


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "inf", "1e999", "0.4", "x", ""])
def test_what_is_no_number_within_the_bounds_is_refused(text: str) -> None:
    """NaN and infinity too, which are within any bounds or within none above."""
    with pytest.raises(click.BadParameter):
        Number(0.5).convert(text, None, None)


def test_a_number_has_bounds() -> None:
    """Its bounds belong to it."""
    assert [Number(0.5, 2).convert(text, None, None) for text in ("0.5", "2", "1e0")] == [0.5, 2.0, 1.0]


def test_all_commands_take_such_numbers() -> None:
    """No option has a range of floats of click, which NaN passes."""
    sources = Path(smartmob.cli.__file__).parent.glob("*.py")
    using = [path.name for path in sources if "click.FloatRange(" in path.read_text().replace("(click.FloatRange)", "")]
    assert using == []
