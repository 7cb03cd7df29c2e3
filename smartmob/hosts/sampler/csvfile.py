"""`server_system_load.csv`: the load of the service's own machine, a line a second, as in seed 001."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from smartmob.hosts.fields import MEGABYTE, Snapshot
from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()

NAME = "server_system_load.csv"
HEAD = "time;cpu load;memory load;storage\n"
_LONGEST_LINE_BYTES = 128


class LoadCsv:
    """Appends to the file. At `most_bytes` it is renamed to `.1`, older ones are renumbered; `kept` of them stay."""

    def __init__(self, folder: Path, most_bytes: int, kept: int) -> None:
        self._path = folder / NAME
        self._most = most_bytes
        self._kept = kept
        self._fails = False

    def write(self, snapshot: Snapshot) -> None:
        """Append a line: the time (UTC), processor load in percent, memory and storage in use in MB.

        A field that could not be measured is empty.
        """
        when = datetime.fromtimestamp(snapshot.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        used = None if snapshot.memory is None else snapshot.memory.used // MEGABYTE
        stored = None if snapshot.storage is None else snapshot.storage.used // MEGABYTE
        cells = ("" if value is None else str(value) for value in (snapshot.cpu, used, stored))
        try:
            self._append(f"{when};{';'.join(cells)}\n")
            self._fails = False
        except OSError as error:
            # Logged once: a full disk would fill the log as well.
            if not self._fails:
                log.warning("hosts.load_file_failed", path=str(self._path), reason=error.strerror)
            self._fails = True

    def _append(self, line: str) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size + _LONGEST_LINE_BYTES > self._most:
            self._rotate()
            size = 0
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line if size else HEAD + line)

    def _rotate(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            old = self._path.with_name(f"{NAME}.{number}")
            if old.exists():
                old.replace(self._path.with_name(f"{NAME}.{number + 1}"))
        if self._kept:
            self._path.replace(self._path.with_name(f"{NAME}.1"))
        else:
            self._path.unlink()
