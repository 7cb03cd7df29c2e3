"""The session of a client: its name and its working directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class ClientSession:
    """The state of one client's connection. `client` names the client in records and logs."""

    def __init__(self, client: str, home: Path) -> None:
        self.client = client
        self.cwd = home

    def path(self, text: str) -> Path:
        """Return an absolute path. A relative path begins at the client's working directory; `~` is the user's home.

        Raises FileNotFoundError for the home of a user that does not exist.
        """
        try:
            return Path(os.path.normpath(self.cwd / Path(text).expanduser()))
        except RuntimeError:
            raise FileNotFoundError(errno.ENOENT, "there is no such user", text) from None
