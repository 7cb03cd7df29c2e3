"""Environments for many commits: one for all, or one for each set of requirements."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments.commit_environments import CommitEnvironments
from smartmob.experiments.sides import Side


def test_a_named_python_is_for_all(tmp_path: Path) -> None:
    """It is looked at once."""
    environments = CommitEnvironments(tmp_path, sys.executable, ())
    first = environments.interpreter(Side("a", "revision", tmp_path))
    assert environments.interpreter(Side("b", "revision", tmp_path)) is first
    assert "pytest" in first.modules


def test_requirements_that_fail_are_not_tried_again(tmp_path: Path) -> None:
    """Commits with the same ones get the same reason at once, also when it would succeed by now."""
    place = tmp_path / "place"
    place.write_text("a file, in which no environment can be made")
    environments = CommitEnvironments(place, None, ())
    (tmp_path / "side").mkdir()
    side = Side("a", "revision", tmp_path / "side")
    with pytest.raises(InvalidInput, match="cannot be created") as first:
        environments.interpreter(side)
    place.unlink()
    with pytest.raises(InvalidInput) as second:
        environments.interpreter(side)
    assert str(first.value) == str(second.value)
    assert not place.exists()
