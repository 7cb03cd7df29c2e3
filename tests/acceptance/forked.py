"""The installed `smartmob`, started by a fork of a process that has imported it already.

Of the processor time of a command 0.4 seconds are for its imports and some 0.03 for what it does, and the tests of the
command line and of the pages start hundreds. So one process of the test run imports the modules of all commands once
(`fork_server.py`). The folder `programs()` has a `smartmob` (`fork_client.py`) that asks this process for a copy of
itself. The copy gets the arguments, the variables, the folder and the open files, and is a process with signals and an
exit code like any other. Commands whose process is looked at are started as installed.

Of the 0.8 seconds of a start and stop of the service 0.7 are for its imports. A second process has those: it is asked
when `FORKED_PID` names a file, into which the copy writes the id of its process.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from tests.acceptance import installed
from tests.shared import SHARED

_CLIENT, _SERVER = (Path(__file__).with_name(f"fork_{name}.py") for name in ("client", "server"))


@cache
def programs() -> Path:
    """Return the folder of a `smartmob` that begins at once; one process of the test run makes it for all."""

    def make(folder: Path) -> None:
        real, bin_folder = installed.programs(), folder / "bin"
        bin_folder.mkdir(parents=True)
        (bin_folder / "installed").symlink_to(real)
        for name in ("smartmob", "smartmob-agent"):
            (bin_folder / name).write_text(f"#!{real / 'python'} -IS\n{_CLIENT.read_text()}")
            (bin_folder / name).chmod(0o755)
        run = (Path(os.environ[SHARED]) / "pid").read_text()
        for kind in ("commands", "service"):
            subprocess.run([real / "python", _SERVER, folder, run, kind], check=True)

    return installed.made("forked", make) / "bin"
