"""Dry runs of scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smartmob.turrets.turret.dry_run import DryRunResult, dry_run
from smartmob.turrets.turret.script import load


def _dry_run(folder: Path, body: str, times: int = 1, config: dict[str, Any] | None = None) -> list[DryRunResult]:
    path = folder / "v_user.py"
    path.write_text(f"from oct_turrets.base import BaseTransaction\n\n\nclass Transaction(BaseTransaction):\n{body}")
    return list(dry_run(load(path), config or {}, {"who": "all"}, times))


@pytest.mark.parametrize("word", ["", "async "])
def test_steps_run_in_order_for_each_transaction(tmp_path: Path, word: str) -> None:
    """Setup, run and tear_down of one user, with the configuration and the context."""
    body = f"""
    {word}def setup(self):
        self.seen = [*getattr(self, "seen", []), "setup"]
    {word}def run(self):
        self.seen.append((self.config["url"], self.context["who"]))
        self.custom_timers["page"] = float(len(self.seen))
    {word}def tear_down(self):
        self.seen.append("tear_down")
"""
    first, second = _dry_run(tmp_path, body, 2, {"url": "x"})
    assert (first.error, first.timers, second.timers) == ("", {"page": 2.0}, {"page": 5.0})
    assert 0.0 <= first.took < 10.0


@pytest.mark.parametrize("word", ["", "async "])
@pytest.mark.parametrize(
    ("step", "error", "runs"),
    [("__init__", "no!", 0), ("setup", "setup: no!", 0), ("run", "no!", 0), ("tear_down", "tear_down: no!", 1)],
)
def test_an_error_has_its_text_and_a_traceback_of_the_script(
    tmp_path: Path, word: str, step: str, error: str, runs: int
) -> None:
    """The text is that of a result; the traceback begins with the line of the script."""
    made = "" if step == "__init__" else word
    body = f"""
    {word}def run(self):
        self.custom_timers["ran"] = 1
    {made}def {step}(self, *arguments):
        raise ValueError("no!")
"""
    (one,) = _dry_run(tmp_path, body)
    assert (one.error, len(one.timers)) == (error, runs)
    lines = one.trace.splitlines()
    assert "v_user.py" in lines[0]
    assert lines[-1] == "ValueError: no!"


def test_system_exit_ends_one_transaction_only(tmp_path: Path) -> None:
    """The next transaction is done."""
    one, other = _dry_run(tmp_path, "    def run(self):\n        raise SystemExit(3)\n", 2)
    assert (one.error, other.error) == ("3", "3")
