"""The settings of `smartmob db`: those that `smartmob serve` would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.cli.db_options import settings_of


def test_options_that_are_not_given_are_left_to_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A flag wins over a variable; without either the default holds."""
    monkeypatch.setenv("SMARTMOB_DATABASE_URL", "postgresql://variable/x")

    assert settings_of(None, {"database_url": None, "data_dir": tmp_path}).database.url == "postgresql://variable/x"
    assert settings_of(None, {"database_url": "postgresql://flag/x"}).database.url == "postgresql://flag/x"
