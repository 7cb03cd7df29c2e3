"""The queue of a writer: the order of batches, one at a time for each node, and which rows share one."""

from __future__ import annotations

from collections.abc import Iterable

from smartmob.kernel.db.submission_queue import Shard, SubmissionQueue
from smartmob.kernel.db.writer import Submission

A, B, ELSEWHERE = Shard(1, 1), Shard(2, 1), Shard(3, 2)


class _Done:
    """Stands for a caller that does not wait."""

    def done(self) -> bool:
        return False


def _queue(*submitted: tuple[Shard | None, str], max_batch: int = 5, most_together: int = 3) -> SubmissionQueue[str]:
    """Return a queue with submissions of a letter for each row."""
    queue: SubmissionQueue[str] = SubmissionQueue(max_batch, most_together)
    for shard, rows in submitted:
        queue.put(_submission(shard, rows))
    return queue


def _submission(shard: Shard | None, rows: str) -> Submission[str]:
    submission = Submission(rows, _Done(), 0.0)  # type: ignore[arg-type]  # the queue never asks it
    submission.shard = shard
    return submission


def _texts(batch: Iterable[Submission[str]]) -> list[str]:
    return ["".join(submission.rows) for submission in batch]


def test_without_shards_a_batch_is_bounded_and_nothing_is_busy() -> None:
    """A submission that is larger than a batch is alone."""
    queue = _queue((None, "aa"), (None, "bb"), (None, "cc"), (None, "dddddd"), (None, "e"))

    assert [_texts(queue.take()) for _ in range(4)] == [["aa", "bb"], ["cc"], ["dddddd"], ["e"]]
    assert (queue.take(), bool(queue), queue.ready) == ([], False, False)


def test_a_node_gets_one_batch_at_a_time() -> None:
    """Rows for another node are taken meanwhile; the next batch of a node comes after the end of the first."""
    queue = _queue((A, "a"), (ELSEWHERE, "x"))
    first = queue.take()
    assert not queue.put(_submission(B, "b"))
    second = queue.take()

    assert (_texts(first), _texts(second), queue.take(), queue.ready) == (["a"], ["x"], [], False)
    queue.finish(first)
    assert queue.ready
    assert (_texts(queue.take()), list(queue)) == (["b"], [])


def test_few_rows_of_several_shards_of_a_node_are_together() -> None:
    """Up to the number that one statement takes; whole submissions, and the rest is next."""
    queue = _queue((A, "a"), (B, "b"), (ELSEWHERE, "x"), (A, "a"), (B, "bb"))
    first = queue.take()

    assert _texts(first) == ["a", "a", "b"]
    queue.finish(first)
    assert [_texts(queue.take()) for _ in range(2)] == [["x"], ["bb"]]


def test_many_rows_of_a_shard_are_alone() -> None:
    """They are copied, which commits in two phases if there are several shards."""
    queue = _queue((A, "aaa"), (A, "aa"), (B, "b"), (A, "a"))
    first = queue.take()

    assert _texts(first) == ["aaa", "aa"]
    queue.finish(first)
    # The other shard has waited for longer than the rest of this one.
    assert _texts(queue.take()) == ["b", "a"]
