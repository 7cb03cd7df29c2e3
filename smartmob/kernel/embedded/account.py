"""The system user that owns and runs the embedded PostgreSQL.

PostgreSQL refuses to run as root, so a service that is started as root runs it as a system user without a shell and
without a password. Any other service runs it as its own user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from smartmob.errors import DatabaseError

NAME = "smartmob"
_NOLOGIN_SHELL = next((p for p in ("/usr/sbin/nologin", "/sbin/nologin") if Path(p).exists()), "/bin/false")
_CREATORS = (
    (
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        _NOLOGIN_SHELL,
        NAME,
    ),
    ("adduser", "-S", "-D", "-H", "-h", "/nonexistent", "-s", _NOLOGIN_SHELL, NAME),  # BusyBox
)
_ATTEMPTS_COUNT = 20


class DatabaseUser(msgspec.Struct, frozen=True):
    """The user that runs the database. `ours` is the name of the user that runs this process."""

    name: str
    uid: int
    gid: int
    ours: str

    @property
    def foreign(self) -> bool:
        """Return whether the database runs as another user than this process."""
        return self.uid != os.geteuid()

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments with which `subprocess` starts a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.foreign else {}


def find() -> DatabaseUser:
    """Return the account that runs the database. For root it is the system user, which is made if it is missing.

    Raises DatabaseError when there is no such account.
    """
    try:
        ours = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise DatabaseError(
            f"the embedded database needs a user name, and user id {os.geteuid()} has none in the user database. "
            "Add one, or use a PostgreSQL server of your own with --database-url."
        ) from None
    theirs = _system_user() if ours.pw_uid == 0 else ours
    return DatabaseUser(theirs.pw_name, theirs.pw_uid, theirs.pw_gid, ours.pw_name)


def _system_user() -> pwd.struct_passwd:
    """Return the system user, which is made if it is missing; raises DatabaseError."""
    reason = "no program to add a user was found"
    for _ in range(_ATTEMPTS_COUNT):
        try:
            return pwd.getpwnam(NAME)
        except KeyError:
            pass
        creator = next((command for command in _CREATORS if shutil.which(command[0])), None)
        if creator is None:
            break
        # Two services may start at the same time: the one that fails finds the user of the other in the next round.
        result = subprocess.run(creator, capture_output=True, text=True, check=False, timeout=10)
        reason = (result.stderr or result.stdout).strip()
    raise DatabaseError(
        f"running as root, the embedded database needs the system user {NAME!r}, which could not be created "
        f"({reason}). "
        f"Make it, run smartmob as an ordinary user, or use --database-url."
    )
