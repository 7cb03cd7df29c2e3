"""The environment of this process: what the service reads, what its programs get, and the removal of secrets from it.

No other module reads the environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from smartmob.options import PREFIX


@cache
def secret_names() -> frozenset[str]:
    """Return the names of the environment variables that may contain secrets."""
    from smartmob.settings import OPTIONS  # client commands start without all settings of the service

    return frozenset((PREFIX + "TOKEN", "DATABASE_URL", *(option.variable for option in OPTIONS if option.secret)))


_SECRETS_VARIABLE = PREFIX + "SECRETS_FD"
_secrets: dict[str, str] = {}


def _receive_secrets() -> None:
    """Take the secrets that this process passed on to itself, and close the file in which they were."""
    if (descriptor := os.environ.pop(_SECRETS_VARIABLE, "")).isdecimal():
        with open(int(descriptor), encoding="utf-8", errors="surrogateescape") as file:
            _secrets.update(json.load(file))


def hide_secrets() -> None:
    """Remove the secrets from the environment that /proc shows to all programs of the same user.

    /proc shows the environment with which a program was started, so this process executes itself again without the
    secrets. It passes them on in an anonymous file in memory, which is closed after reading.
    """
    _receive_secrets()
    given = {name: os.environ[name] for name in secret_names() if os.environ.get(name)}
    if not given or not hasattr(os, "memfd_create"):
        return
    memory = os.memfd_create("secrets", flags=0)
    os.write(memory, json.dumps({**_secrets, **given}).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    kept = {name: value for name, value in os.environ.items() if name not in given}
    # S606 is about starting a process without a shell: here the same program goes on, with another environment.
    variables = kept | {_SECRETS_VARIABLE: str(memory)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], variables)  # noqa: S606  # no shell is wanted


def environment() -> dict[str, str]:
    """Return the environment of this process, including the secrets that `hide_secrets` removed."""
    return {**os.environ, **_secrets}


@contextmanager
def changed(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables until the end of the block, for libraries that read them; then they are as they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_OWN = frozenset(("DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"))


def inherited() -> dict[str, str]:
    """Return the environment for programs that the service starts.

    It has no settings, which may be secrets, and no variables that systemd sets for the service alone.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name not in _OWN}
