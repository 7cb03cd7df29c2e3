"""Process tags: a number that all descendants of a program inherit, which tells to which child an orphan belongs.

The tag is stored in the soft limit of the resident set (RLIMIT_RSS). Linux has ignored this limit since 2.4.30
(setrlimit(2)). The tag is kept through fork, exec, setsid and an emptied environment, and all users can read it
(`/proc/PID/limits`).
A process without a tag has no such limit. Tags are limits that no machine reaches: 2^61 bytes minus 1 to 1,023 times
2^50. Tags are not available where a lower limit is already set.

A tagged program may be a service that tags its own programs. Each level of nesting has ten bits, below those of the
level above, so the outer service still finds its tag in everything that the inner service starts.
"""

from __future__ import annotations

import resource

from smartmob.kernel.subprocesses import process_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BITS = 10  # of a tag
_LEVELS = (60, 50, 40, 30, 20, 10)  # the lowest bit above each level of nesting
_UNLIMITED_BYTES = 1 << 61  # the limit that stands for "no limit"
_LOWEST_BYTES = 1 << 60  # a process with a lower limit cannot tag
_FIELD = b"Max resident set"

HIGHEST_TAG = (1 << _BITS) - 1
"""The highest tag; the lowest is 1, and 0 stands for none."""


class ProcessTags:
    """The tags that this process can give to its children. There are none if its own limit is too low."""

    def __init__(self) -> None:
        soft, self._hard = resource.getrlimit(resource.RLIMIT_RSS)
        self._own = soft
        self._base = _UNLIMITED_BYTES if soft == resource.RLIM_INFINITY else soft
        level = next((bits for bits in _LEVELS if self._base % (1 << bits) == 0), 0)
        self._step = 1 << level >> _BITS if self._base > _LOWEST_BYTES else 0

    def supported(self) -> bool:
        """Return whether this system and the limit of this process allow tags."""
        if not self._step:
            return False
        try:
            self.apply(1)
            resource.setrlimit(resource.RLIMIT_RSS, (self._own, self._hard))
        except (OSError, ValueError):
            return False
        return True

    def apply(self, tag: int) -> None:
        """Give `tag` to everything that this process starts from now on; raises OSError or ValueError."""
        resource.setrlimit(resource.RLIMIT_RSS, (self._base - tag * self._step, self._hard))

    def of(self, pid: int) -> int:
        """Return the tag of a process, or 0 when it has none or has ended."""
        below = self._base - _soft_limit(pid)
        return below // self._step if 0 < below < (HIGHEST_TAG + 1) * self._step else 0

    def abandoned(self) -> list[int]:
        """Return the tagged processes, of this or another service, that have no subreaper above them."""
        tagged = [pid for pid in process_tree.pids() if self.of(pid) and process_tree.session(pid) is not None]
        return [pid for pid in tagged if not _has_subreaper(pid)]


def _has_subreaper(pid: int) -> bool:
    """Return whether a subreaper is above a process, or the process has ended."""
    above = pid
    while process_tree.name_of(above) != process_tree.SUBREAPER:
        higher = process_tree.parent(above)
        if higher == 0:
            return False
        if higher is None and above == pid:
            return True
        # If a process has ended meanwhile, its children have another parent: start again from the bottom.
        above = higher or pid
    return True


def lowest_free(taken: Iterable[int]) -> int:
    """Return the lowest tag that is not taken."""
    used = set(taken)
    return next(tag for tag in range(1, HIGHEST_TAG + 1) if tag not in used)


def _soft_limit(pid: int) -> int:
    """Return the soft limit of the resident set of a process in bytes."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(_FIELD):
                    value = line[len(_FIELD) :].split()[0]
                    return _UNLIMITED_BYTES if value == b"unlimited" else int(value)
    except OSError:
        pass
    return _UNLIMITED_BYTES
