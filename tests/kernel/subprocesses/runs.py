"""Programs that write into a file, for the tests of children."""

from __future__ import annotations

import os
from pathlib import Path

from smartmob.kernel.subprocesses.child import Child, Spec
from smartmob.kernel.subprocesses.spawner import Spawner


class Run:
    """Starts programs whose output is appended to a file."""

    def __init__(self, spawner: Spawner, folder: Path, null: int) -> None:
        self.spawner = spawner
        self.folder = folder
        self._null = null
        self.output = folder / "output"

    async def __call__(self, *argv: str, cwd: Path | None = None, **env: str) -> Child:
        with self.output.open("ab") as file:
            env = {"PATH": os.environ["PATH"], **env}
            fd = file.fileno()
            return await self.spawner.spawn(Spec(argv, env, cwd or self.folder, self._null, fd, fd))

    def written(self) -> str:
        return self.output.read_text()
