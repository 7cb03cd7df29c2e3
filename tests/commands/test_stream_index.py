"""Which bytes of a file of output came from standard error."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from smartmob.commands.model import STDERR, STDOUT
from smartmob.commands.spool import Spools
from smartmob.commands.stream_index import StreamIndex


def _streams(spools: Spools, job: int) -> bytes:
    """Return the stream of each byte that is kept."""
    spool, found = spools.find(job), b""
    while (offset := spool.start + len(found)) < spool.end:
        stream, end = spool.stream_at(offset)
        found += bytes([stream]) * (end - offset)
    return found


PIECES = st.lists(st.tuples(st.sampled_from((STDOUT, STDERR)), st.integers(1, 400)), max_size=40)


@given(PIECES)
def test_each_byte_has_its_stream(tmp_path_factory: object, pieces: list[tuple[int, int]]) -> None:
    """Whatever the pieces and the borders of files, also after a restart; dropped output takes its marks along."""
    folder: Path = tmp_path_factory.mktemp("spool")  # type: ignore[attr-defined]  # pytest has no public type for it
    spools = Spools(folder, 2_000, 10_000)
    spools.open()
    spool = spools.create(1)
    expected = b""
    for stream, size in pieces:
        spools.append(spool, bytes(size), stream)
        expected += bytes([stream]) * size
    expected = expected[spool.start :]
    assert _streams(spools, 1) == expected
    spools.finish(spool)
    again = Spools(folder, 2_000, 10_000)
    again.open()
    files = list(folder.iterdir())
    assert again.total == sum(path.stat().st_size for path in files)
    assert not pieces or _streams(again, 1) == expected
    again.remove(1)
    assert (list(folder.iterdir()), again.total) == ([], 0)


def test_output_of_one_stream_has_no_marks(tmp_path: Path) -> None:
    """Its folder has the same files as in earlier releases."""
    spools = Spools(tmp_path, 1_000, 10_000)
    spools.open()
    spools.append(spools.create(1), b"one\n")
    assert [path.name for path in tmp_path.iterdir()] == ["1.0000000000000000"]


def test_a_record_without_its_output_is_removed(tmp_path: Path) -> None:
    """So output that could not be written leaves no wrong stream behind."""
    marks = StreamIndex(tmp_path / "marks")
    assert marks.begin(5, STDERR)
    marks.undo()
    assert (marks.at(9), (tmp_path / "marks").read_bytes()) == ((STDOUT, None), b"")
    assert marks.begin(5, STDERR)
    marks.keep(STDERR)
    assert [marks.at(4), marks.at(5), marks.begin(7, STDERR)] == [(STDOUT, 5), (STDERR, None), False]
    marks.remove()
    assert not (tmp_path / "marks").exists()
