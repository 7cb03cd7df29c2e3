"""The brand of a program: a number that all its descendants inherit, by which a keeper knows whose an orphan is.

It is written into the soft limit of the resident set (RLIMIT_RSS), which Linux has not looked at since 2.4.30
(setrlimit(2)), and which fork, exec, setsid and an emptied environment leave as it is. Anybody may read it
(`/proc/PID/limits`). Without a brand there is no such limit, and all brands are limits that no machine comes near:
2^61 bytes less 1 to 1,023 times 2^50. Where somebody has set a lower one there are no brands.

A branded program may be a service that brands in turn. So each level of nesting has ten bits of its own, below those of
the level above, which thus still sees its brand in all that the inner service starts.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable

from smartmob.kernel.subprocesses import process_tree

_BITS = 10
_LEVELS = (60, 50, 40, 30, 20, 10)
_UNLIMITED = 1 << 61
_LEAST = 1 << 60
_FIELD = b"Max resident set"

MOST = (1 << _BITS) - 1
"""The greatest brand; the least is 1."""


class ProcessTags:
    """The brands that this process can give to what it starts; none at all where its own limit leaves no room."""

    def __init__(self) -> None:
        soft, self._hard = resource.getrlimit(resource.RLIMIT_RSS)
        self._own = soft
        self._base = _UNLIMITED if soft == resource.RLIM_INFINITY else soft
        level = next((bits for bits in _LEVELS if self._base % (1 << bits) == 0), 0)
        self._step = 1 << level >> _BITS if self._base > _LEAST else 0

    def work(self) -> bool:
        """Tell whether this system and this process's own limit allow brands."""
        if not self._step:
            return False
        try:
            self.wear(1)
            resource.setrlimit(resource.RLIMIT_RSS, (self._own, self._hard))
        except (OSError, ValueError):
            return False
        return True

    def wear(self, brand: int) -> None:
        """Have what this process starts from now on carry `brand`; raises OSError or ValueError."""
        resource.setrlimit(resource.RLIMIT_RSS, (self._base - brand * self._step, self._hard))

    def of(self, pid: int) -> int:
        """Return the brand of a process; 0 for one that has none, or has ended."""
        below = self._base - _soft_limit(pid)
        return below // self._step if 0 < below < (MOST + 1) * self._step else 0

    def abandoned(self) -> list[int]:
        """Return the processes with a brand, of this or another service, whose keeper is no more, nor any other."""
        branded = [pid for pid in process_tree.pids() if self.of(pid) and process_tree.session(pid) is not None]
        return [pid for pid in branded if not _is_kept(pid)]


def _is_kept(pid: int) -> bool:
    """Tell whether a keeper is above a process, or the process has ended."""
    above = pid
    while process_tree.name_of(above) != process_tree.KEEPER:
        higher = process_tree.parent(above)
        if higher == 0:
            return False
        if higher is None and above == pid:
            return True
        # One that has ended meanwhile has given its children to another: look again from below.
        above = higher or pid
    return True


def free(taken: Iterable[int]) -> int:
    """Return the least brand that is not taken."""
    used = set(taken)
    return next(brand for brand in range(1, MOST + 1) if brand not in used)


def _soft_limit(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(_FIELD):
                    value = line[len(_FIELD) :].split()[0]
                    return _UNLIMITED if value == b"unlimited" else int(value)
    except OSError:
        pass
    return _UNLIMITED
