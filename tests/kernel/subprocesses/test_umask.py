"""The umask of the service and of its programs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, sys
from smartmob.kernel.subprocesses import umask
assert umask.of_programs() == -1
os.umask(0o027)
umask.make_private()
umask.make_private()
open(sys.argv[1], "w").close()
print(oct(umask.of_programs()))
"""


def test_files_are_private_and_programs_keep_the_original_umask(tmp_path: Path) -> None:
    """New files have no permissions for others; setting it twice keeps the original for programs."""
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "made")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "0o27\n"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
