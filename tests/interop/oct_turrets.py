"""Turrets of OCT as processes, with scripts as people wrote them for OCT."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.interop.children import clean_environment

SCRIPT = """
import time
import urllib.request

from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer


class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super(Transaction, self).__init__(config, context)
        self.url = config["url"]

    def run(self):
        time.sleep(0.05)
        with CustomTimer(self, "page"):
            urllib.request.urlopen(self.url).read()
"""

OLD_SCRIPT = """
import json
import os
import time
import urllib.request

from oct_turrets.base import BaseTransaction

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.json")) as file:
    URL = json.load(file)["url"]


class Transaction(BaseTransaction):
    def __init__(self):
        pass

    def run(self):
        time.sleep(0.05)
        start = time.time()
        urllib.request.urlopen(URL).read()
        self.custom_timers["page"] = time.time() - start
"""


def package(folder: Path, ports: tuple[int, int], url: str, script: str = SCRIPT, **config: Any) -> Path:
    """Return a package of a turret, as `oct pack-turrets` makes it."""
    given: dict[str, Any] = {
        **{"name": "nav", "cannons": 4, "rampup": 0.2, "script": "v_user.py", "url": url},
        **{"hq_address": "127.0.0.1", "hq_publisher": ports[0], "hq_rc": ports[1]},
    }
    path = folder / "nav.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("config.json", json.dumps(given | config)), ("v_user.py", script)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


class OctTurretProcess:
    """A turret of OCT that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def kill(self) -> None:
        """End it at once, as a machine that fails does."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def oct_turret(python: Path, packed: Path, home: Path) -> AsyncIterator[OctTurretProcess]:
    """Run a turret of OCT until the end of the block."""
    with (home / "turret.log").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(python.parent / "oct-turrets-start", "--tar", packed),
            cwd=home,
            env=clean_environment(home),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    turret = OctTurretProcess(process)
    try:
        yield turret
    finally:
        await turret.kill()
