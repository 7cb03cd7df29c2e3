"""Namespaces of process ids, as containers have them, for whoever the tests are run by."""

from __future__ import annotations

import os

_AS_USER = () if os.geteuid() == 0 else ("--user", "--map-current-user")
NAMESPACE = ("unshare", *_AS_USER, "--pid", "--fork", "--kill-child", "--mount-proc")
"""What is put before a command that shall be process 1 of one."""
