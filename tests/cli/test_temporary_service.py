"""A service that lives as long as a command needs it."""

from __future__ import annotations

import asyncio
from urllib.request import urlopen

import pytest

from smartmob.cli.temporary_service import trial
from smartmob.errors import StartupError


@pytest.mark.acceptance
async def test_it_is_gone_afterwards() -> None:
    """It answers inside the block, and leaves nothing behind."""

    def use() -> None:
        with trial("test") as service:
            with urlopen(f"{service.url}/health") as answer:
                assert answer.status == 200
            assert (service.folder / "data").exists()
        assert service.process.poll() == 0
        assert not service.folder.exists()

    await asyncio.to_thread(use)


async def test_one_that_does_not_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The errors of the service come before that of the command."""
    monkeypatch.setenv("SMARTMOB_MAX_BODY", "none")

    def use() -> None:
        with pytest.raises(StartupError, match="did not start"), trial("test"):
            pass

    await asyncio.to_thread(use)
    assert "none" in capfd.readouterr().err
