"""A queue of samples on disk, for times when the server cannot be reached.

The queue is a limited number of files; when it is full, the oldest file is removed. A sample is one line of JSON. A
file is removed when all its samples have been delivered, so a crash may deliver some of them twice. The server
recognises these by their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smartmob.errors import StartupError

_MAX_FILES = 8
_SUFFIX = ".samples"


class Backlog:
    """The samples in `folder`, at most `max_bytes` of them; `lost` counts those that were removed."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._file_bytes = max(1, max_bytes // _MAX_FILES)
        self._offset = 0
        self._taken = 0
        self.lost = 0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._files = sorted(folder.glob(f"*{_SUFFIX}"), key=_number)
        except (OSError, ValueError) as error:
            raise StartupError(
                f"the folder {folder} cannot be used: {error}. Name another one with --state-dir."
            ) from None

    def __bool__(self) -> bool:
        return bool(self._files)

    @property
    def size(self) -> int:
        """Return the number of waiting bytes."""
        return sum(path.stat().st_size for path in self._files) - self._offset

    def add(self, samples: Sequence[bytes]) -> None:
        """Append samples, and remove the oldest ones when the queue is full. Raises OSError."""
        if not samples:
            return
        if not self._files or self._files[-1].stat().st_size >= self._file_bytes:
            number = _number(self._files[-1]) + 1 if self._files else 1
            self._files.append(self._folder / f"{number:08d}{_SUFFIX}")
        with self._files[-1].open("ab") as file:
            # A line that a crash has cut off must not merge with the next one.
            start = b"\n" if file.tell() and not self._ends_whole() else b""
            file.write(start + b"\n".join(samples) + b"\n")
        while len(self._files) > _MAX_FILES:
            self.lost += self._files[0].read_bytes()[self._offset :].count(b"\n")
            self._drop_first()

    def take(self, max_samples: int, max_bytes: int) -> list[bytes]:
        """Return the oldest samples; they stay in the queue until `done` is called."""
        if not self._files:
            return []
        with self._files[0].open("rb") as file:
            file.seek(self._offset)
            lines: list[bytes] = []
            size = 0
            self._taken = 0
            for line in file:
                size += len(line)
                if lines and (size > max_bytes or len(lines) >= max_samples):
                    break
                self._taken += len(line)
                if line.endswith(b"\n") and line.startswith(b"{"):
                    lines.append(line[:-1])
        if not lines:
            # The file has only lines that a crash has cut off.
            self.done()
            return self.take(max_samples, max_bytes) if self._files else []
        return lines

    def done(self) -> None:
        """Remove the samples that `take` returned last, because they have been delivered."""
        self._offset += self._taken
        self._taken = 0
        if self._offset >= self._files[0].stat().st_size:
            self._drop_first()

    def _drop_first(self) -> None:
        self._files.pop(0).unlink(missing_ok=True)
        self._offset = self._taken = 0

    def _ends_whole(self) -> bool:
        with self._files[-1].open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"


def _number(path: Path) -> int:
    return int(path.name.removesuffix(_SUFFIX))
