"""`smartmob run` and the commands after it, with a real service and a real CTRL-C."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.acceptance.commands import run, serving
from tests.cli.terminal import typed

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

PROGRAM = """\
import itertools, os, time

print(f"listening on {os.environ['PORT']}, {os.environ['GREETING']}")
for number in itertools.count():
    print("request", number)
    time.sleep(0.1)
"""


async def test_a_folder_becomes_a_program_that_survives_a_restart(reachable_path: Path) -> None:
    """It runs after CTRL-C, is found again, and is stopped at the end."""
    folder = reachable_path / "my app"
    folder.mkdir()
    (folder / "Procfile").write_text("web: python3 app.py\n")
    (folder / "app.py").write_text(PROGRAM)
    (folder / ".slugignore").write_text("*.secret\n")
    (folder / "key.secret").write_text("do not send")

    async with serving(reachable_path / "data", "--processes-base-port", "5900") as service:
        words = ("run", folder, "--scale", "web=2", "--env", "GREETING=hello")
        async with typed(*words, terminal=True, SMARTMOB_SERVER=service.url) as command:
            await command.says("web.0 | listening on 5900, hello", "web.1 | listening on 5901, hello", "request 3")
            command.process.send_signal(signal.SIGINT)
            assert await command.wait() == 0
        assert "Uploaded 3 files" in command.text
        assert "smartmob logs -f 'my app.web.0' 'my app.web.1'" in command.text

        async with typed("logs", "-f", "--tail", "1", "my app.web.0", SMARTMOB_SERVER=service.url) as command:
            await command.says("request 1")
            assert await command.interrupt() == 0

        code, output, _ = await run("ps", SMARTMOB_SERVER=service.url)
        assert (code, output.count(" running ")) == (0, 2)
        pids = [int(line.split()[3]) for line in output.splitlines()[2:]]
        assert all(psutil.pid_exists(pid) for pid in pids)
        await service.stop()
        assert not any(psutil.pid_exists(pid) for pid in pids)

    async with serving(reachable_path / "data", "--processes-base-port", "5900") as service:
        async with typed("logs", "-f", "my app.web.1", SMARTMOB_SERVER=service.url) as command:
            await command.says("listening on 5901, hello")
            assert (await run("stop", "--remove", "my app", SMARTMOB_SERVER=service.url))[0] == 0
            assert await command.wait() == 0
        assert (await run("ps", "--json", SMARTMOB_SERVER=service.url))[:2] == (0, "[]\n")
