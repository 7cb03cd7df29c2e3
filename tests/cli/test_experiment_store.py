"""The sending of experiments, where a folder or a report is unusual."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.cli.experiment_store import Destination, store, waiting_folder
from smartmob.experiments import stored_experiment
from tests.experiments.reports import report


def test_a_report_that_can_neither_be_sent_nor_kept_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a folder for files that wait, the reasons are printed, and no file is named that does not exist."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(stored_experiment, "MAX_BYTES", 1000)
    assert not store(report(), Destination("http://127.0.0.1:9", tmp_path / "absent", None))
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "the ratios of single pairs are not stored",
        "the report cannot be kept for later",
        "not stored",
    ]
    assert "later" not in said[2]
    assert not waiting_folder().exists()
