"""The journal of a node: its state survives, and records wait until they are delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from smartmob.errors import StartupError, Unavailable
from smartmob.kernel.journal.journal import Entry, Journal, JournalWriter
from smartmob.kernel.runtime.tasks import TaskRegistry


class Words:
    """A table of words that can be removed."""

    kinds = ("word", "gone")

    def __init__(self) -> None:
        self.words: list[str] = []

    def apply(self, kind: str, value: msgspec.Raw) -> None:
        """Add or remove a word."""
        word = msgspec.json.decode(value, type=str)
        if kind == "word":
            self.words.append(word)
        else:
            self.words.remove(word)

    def entries(self) -> Iterator[Entry]:
        """Yield all words."""
        for word in self.words:
            yield "word", word


@asynccontextmanager
async def _open(path: Path) -> AsyncIterator[tuple[Journal, Words]]:
    journal, words, tasks = Journal(path, ("word",)), Words(), TaskRegistry()
    journal.add_table(words)
    await journal.start(tasks)
    try:
        yield journal, words
    finally:
        await journal.close()
        await tasks.close()


async def test_a_state_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Tables, the id, and the records that wait; concurrent callers share the disk."""
    path = tmp_path / "journal"
    async with _open(path) as (journal, words):
        await asyncio.gather(*(journal.put([("word", str(n))]) for n in range(20)))
        await journal.put([("gone", "3")])
        await journal.delivered(15)
        first, found = journal.id, list(words.words)
        assert journal.stats.batches < 20
    async with _open(path) as (journal, words):
        assert (journal.id, words.words) == (first, found)
        assert [record.number for record in await journal.first_records(10**6)] == list(range(16, 21))
        await journal.put([("word", "more")])
        assert (await journal.first_records(10**6))[-1].number == 21


async def test_a_file_that_is_written_anew_keeps_state_and_records(tmp_path: Path) -> None:
    """It does not grow with what is obsolete."""
    path = tmp_path / "journal"
    text = "x" * 60_000
    async with _open(path) as (journal, words):
        await journal.put([("word", "kept")])
        for _ in range(100):
            await journal.put([("word", text), ("gone", text)])
            await journal.delivered((await journal.first_records(10**6))[-1].number - 1)
        assert path.stat().st_size < 3_000_000
        found, waiting, number = list(words.words), await journal.first_records(10**6), journal.outbox.next
    async with _open(path) as (journal, words):
        assert (words.words, journal.outbox.next) == (found, number)
        assert [each.number for each in await journal.first_records(10**6)] == [each.number for each in waiting]


async def test_a_copy_that_was_told_gets_another_id(tmp_path: Path) -> None:
    """The new id is stored, and its records are still there."""
    async with _open(tmp_path / "journal") as (journal, _):
        await journal.put([("word", "a")])
        first = journal.id
        await journal.renew_id()
        second = journal.id
    async with _open(tmp_path / "journal") as (journal, _):
        assert first != journal.id == second
        assert len(await journal.first_records(100)) == 1


async def test_content_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    """Other callers of the same batch are stored."""
    async with _open(tmp_path / "journal") as (journal, words):
        results = await asyncio.gather(
            journal.put([("word", "a")]), journal.put([("word", object())]), journal.put([("word", "b")]),
            return_exceptions=True,
        )  # fmt: skip
        assert [isinstance(result, TypeError) for result in results] == [False, True, False]
        assert sorted(words.words) == ["a", "b"]


async def test_a_disk_that_refuses_is_told_and_nothing_is_stored(tmp_path: Path) -> None:
    """The caller gets Unavailable, and the state stays as it was."""
    async with _open(tmp_path / "journal") as (journal, words):
        await journal.put([("word", "a")])
        journal._file.close()
        journal._file._descriptor = -2  # every operation on it fails
        with pytest.raises(Unavailable, match="nothing was stored"):
            await journal.put([("word", "b")])
        assert words.words == ["a"]
        assert journal.stats.refused == 1
    async with _open(tmp_path / "journal") as (_, words):
        assert words.words == ["a"]


async def test_a_damaged_line_ends_the_start_with_its_number(tmp_path: Path) -> None:
    """Nothing is guessed: the lines behind it may depend on it."""
    path = tmp_path / "journal"
    async with _open(path) as (journal, _):
        await journal.put([("word", "a"), ("word", "b")])
    path.write_bytes(path.read_bytes().replace(b'"v":"a"', b'"v":"a'))
    with pytest.raises(StartupError, match="damaged in line 2"):
        async with _open(path):
            pass


async def test_changes_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    """A node that is set back to an earlier version starts."""
    path = tmp_path / "journal"
    async with _open(path):
        pass
    with path.open("ab") as file:
        file.write(b'{"k":"later","v":{"x":1}}\n{"k":"word","v":"a","more":1,"n":1}\n')
    async with _open(path) as (_, words):
        assert words.words == ["a"]


async def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    """The writes that wait when it is closed are done first."""
    async with _open(tmp_path / "journal") as (journal, words):
        waiting = asyncio.ensure_future(journal.put([("word", "a")]))
        await asyncio.sleep(0)  # it is submitted now
        await journal.close()
        await waiting
        with pytest.raises(Unavailable, match="stopping"):
            await journal.put([("word", "b")])
        assert words.words == ["a"]


async def test_a_writer_encodes_and_counts(tmp_path: Path) -> None:
    """It is the writer of one feature of the journal."""
    async with _open(tmp_path / "journal") as (journal, words):
        writer: JournalWriter[str] = JournalWriter("words", journal, lambda word: ("word", word))
        await writer.start(TaskRegistry())
        await writer.put(["a", "b"])
        await writer.close()
        assert (words.words, writer.stats.rows, writer.stats.waiting) == (["a", "b"], 2, 0)
