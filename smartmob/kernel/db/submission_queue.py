"""The rows that wait for a group-commit writer: in one queue, or in one for each shard of a distributed table.

Several lanes write batches at the same time, but only one batch for each node. A batch takes the rows that wait for all
shards of its node, so that a node commits once for many callers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from smartmob.kernel.db.writer import Submission

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Shard:
    """The number of a shard in the cluster, and of the node that has it; both are 0 for rows of several shards."""

    number: int
    node: int


class SubmissionQueue(Generic[R]):
    """Waiting submissions, by shard; those of a table without shards, or of a shard that is not known yet, have None.

    A batch has at most `max_batch` rows unless its first submission has more. One of several shards has at most
    `most_together`. After a batch of `take` you must call `finish`.
    """

    def __init__(self, max_batch: int, most_together: int) -> None:
        self._max_batch = max_batch
        self._most_together = most_together
        # In the order in which the shards began to wait.
        self._waiting: dict[Shard | None, deque[Submission[R]]] = {}
        self._busy: set[int] = set()

    def __iter__(self) -> Iterator[Submission[R]]:
        for submissions in self._waiting.values():
            yield from submissions

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def ready(self) -> bool:
        """Return whether `take` would return a batch."""
        return any(shard is None or shard.node not in self._busy for shard in self._waiting)

    def put(self, submission: Submission[R]) -> bool:
        """Add a submission; return whether it can be taken at once."""
        shard = submission.shard
        waiting = self._waiting.get(shard)
        if waiting is None:
            self._waiting[shard] = deque((submission,))
        else:
            waiting.append(submission)
        return shard is None or shard.node not in self._busy

    def take(self) -> list[Submission[R]]:
        """Return the oldest submissions for a node to which no batch is being written, or an empty list."""
        for shard in self._waiting:
            if shard is None:
                return self._pop(None, self._max_batch)
            if shard.node not in self._busy:
                break
        else:
            return []
        self._busy.add(shard.node)
        batch = self._pop(shard, self._max_batch)
        left = self._most_together - _rows(batch)
        for other in [each for each in self._waiting if each is not None and each.node == shard.node]:
            if other != shard and len(self._waiting[other][0].rows) <= left:
                further = self._pop(other, left)
                left -= _rows(further)
                batch += further
        return batch

    def finish(self, batch: Sequence[Submission[R]]) -> None:
        """Let the next batch be written to the node of this one."""
        shard = batch[0].shard
        if shard is not None:
            self._busy.discard(shard.node)

    def _pop(self, shard: Shard | None, most: int) -> list[Submission[R]]:
        waiting = self._waiting.pop(shard)
        batch = [waiting.popleft()]
        rows = len(batch[0].rows)
        while waiting and rows + len(waiting[0].rows) <= most:
            submission = waiting.popleft()
            batch.append(submission)
            rows += len(submission.rows)
        if waiting:
            self._waiting[shard] = waiting  # at the end: other shards are next
        return batch


def _rows(batch: Sequence[Submission[Any]]) -> int:
    return sum(len(submission.rows) for submission in batch)
