"""A service that lives as long as a command needs it."""

from __future__ import annotations

import asyncio
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from smartmob.cli.temporary_service import trial
from smartmob.errors import StartupError
from tests.acceptance.commands import SECONDS, run


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


_KILLED = """
import os, signal
from smartmob.cli.temporary_service import trial
with trial("test") as service:
    print(service.url, service.process.pid, service.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.acceptance
async def test_it_ends_with_a_command_that_is_killed() -> None:
    """A command that gets SIGKILL leaves no service behind."""
    code, output, _ = await run("-c", _KILLED, program="python")
    assert code == -signal.SIGKILL
    _, pid, folder = output.split()
    with suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(int(pid)).wait, SECONDS)
    assert not psutil.pid_exists(int(pid))
    shutil.rmtree(folder)


_INTERRUPTED = """
import os, signal
from smartmob.cli.temporary_service import trial
with trial("test") as service:
    print(service.folder, flush=True)
    os.kill(service.process.pid, signal.SIGSTOP)
    service.process.terminate = lambda: os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.acceptance
async def test_ctrl_c_while_it_stops() -> None:
    """CTRL-C during the stop kills the service at once; the command goes on and its folder is removed."""
    code, output, errors = await run("-c", _INTERRUPTED, program="python")
    assert (code, errors) == (0, "")
    assert not Path(output.strip()).exists()


_ENDED = """
import os, signal, sys
from smartmob.cli.temporary_service import trial
with trial("test") as service:
    print(service.url, service.process.pid, service.folder, flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.acceptance
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_that_ends_the_command_leaves_nothing(number: signal.Signals) -> None:
    """The service has stopped, and its folder is removed."""
    code, output, errors = await run("-c", _ENDED, str(int(number)), program="python")
    _, pid, folder = output.split()
    assert (code, Path(folder).exists(), psutil.pid_exists(int(pid))) == (-signal.SIGINT, False, False), errors


_SIGNALLED_TWICE = """
import os, signal
from smartmob.cli.temporary_service import trial
with trial("test") as service:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        print(service.process.pid, service.folder, flush=True)
        raise
"""


@pytest.mark.acceptance
async def test_a_second_signal_does_not_interrupt_the_end() -> None:
    """`make` sends SIGTERM on to a command that has got it too."""
    code, output, errors = await run("-c", _SIGNALLED_TWICE, program="python")
    pid, folder = output.split()
    assert (code, Path(folder).exists(), psutil.pid_exists(int(pid))) == (-signal.SIGINT, False, False), errors


async def test_one_that_does_not_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The errors of the service come before that of the command."""
    monkeypatch.setenv("SMARTMOB_MAX_BODY", "none")

    def use() -> None:
        with pytest.raises(StartupError, match="did not start"), trial("test"):
            pass

    await asyncio.to_thread(use)
    assert "none" in capfd.readouterr().err
