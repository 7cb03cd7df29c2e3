"""Namespaces of process ids, as in containers, for any user that runs the tests."""

from __future__ import annotations

import os

_AS_USER = () if os.geteuid() == 0 else ("--user", "--map-current-user")
NAMESPACE = ("unshare", *_AS_USER, "--pid", "--fork", "--kill-child", "--mount-proc")
"""The words before a command that run it as process 1 of a new namespace."""
