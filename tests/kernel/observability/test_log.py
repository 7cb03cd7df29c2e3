"""Log lines: how events become text."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.observability.log import (
    REQUEST_ID,
    Logs,
    StreamSink,
    open_logs,
    render_json,
    render_kv,
    timestamp,
)
from smartmob.kernel.runtime import clock


class TestKeyValue:
    """Lines of `key=value` words."""

    @pytest.mark.parametrize(
        ("value", "word"),
        [
            ("bind", "bind"),
            ("ünïcode", "ünïcode"),
            ("127.0.0.1", "127.0.0.1"),
            ("/metrics/?page=1", '"/metrics/?page=1"'),
            ("", '""'),
            ("two words", '"two words"'),
            ('say "x"', r'"say \"x\""'),
            ("back\\slash", r'"back\\slash"'),
            ("a\nb", r'"a\nb"'),
            ("\x1b[31m", r'"\u001b[31m"'),
            ("a\u2028b", '"a\u2028b"'),
            (7, "7"),
            (-7, "-7"),
            (True, "true"),
            (False, "false"),
            (None, "none"),
            (0.25, "0.250000"),
            (1e-9, "0.000000"),
            (float("nan"), "nan"),
            (Path("/var/lib"), "/var/lib"),
            (["a", 1], "\"['a', 1]\""),
            (ValueError("no way"), '"no way"'),
        ],
    )
    def test_plain_values_are_not_quoted(self, value: object, word: str) -> None:
        """A plain value is written as it is, others as a JSON string."""
        assert render_kv({"key": value}) == f"key={word}"

    def test_words_keep_the_order_of_the_event(self) -> None:
        """Words keep the order of the event."""
        assert render_kv({"b": 1, "a": "x", "c": None}) == "b=1 a=x c=none"

    def test_a_subclass_of_str_is_written_as_text(self) -> None:
        """A value of a subclass of str is written like a str."""

        class Name(str):
            __slots__ = ()

        assert render_kv({"name": Name("a b")}) == 'name="a b"'

    @settings(deadline=None)
    @given(st.dictionaries(st.sampled_from(["event", "path", "a.b", "@x"]), st.text(max_size=30)))
    @example({"a": 'x=" y="z'})
    def test_a_line_can_be_read_back(self, event: dict[str, str]) -> None:
        """Any text stays on its line and within its word, and can be decoded."""
        line = render_kv(event)

        assert "\n" not in line
        assert "\r" not in line
        assert dict(_words(line)) == event

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=12).map(os.fsdecode))
    @example(os.fsdecode(b"\xff"))
    def test_a_file_name_of_any_bytes_stays_in_its_word(self, name: str) -> None:
        """A file name of any bytes stays on its line and within its word."""
        line = render_kv({"name": name, "next": "x"})

        assert "\n" not in line
        assert [key for key, _ in _words(line.encode(errors="backslashreplace").decode())] == ["name", "next"]


def _words(line: str) -> Iterator[tuple[str, str]]:
    """Split a line into its words, as a reader of the format would."""
    rest = line
    while rest:
        key, _, rest = rest.partition("=")
        if not rest.startswith('"'):
            value, _, rest = rest.partition(" ")
            yield key, value
            continue
        end = 1
        while rest[end] != '"':
            end += 2 if rest[end] == "\\" else 1
        yield key, orjson.loads(rest[: end + 1])
        assert rest[end + 1 : end + 2] in ("", " ")
        rest = rest[end + 2 :]


class TestJson:
    """Lines of one JSON object."""

    def test_other_types_become_text(self) -> None:
        """Values of the types of JSON are kept, and others become text."""
        event: Any = {
            "event": "x",
            "n": 1,
            "f": 0.5,
            "none": None,
            "path": Path("/a"),
            "list": [1, Path("/b")],
            3: "key",
        }

        assert orjson.loads(render_json(event)) == {
            "event": "x", "n": 1, "f": 0.5, "none": None, "path": "/a", "list": [1, "/b"], "3": "key",
        }  # fmt: skip

    @pytest.mark.parametrize("value", [2**64, -(2**64), "\udcff", {"deep": ["\udcff", 2**70]}, float("nan"), {1: {2}}])
    def test_values_that_orjson_refuses_are_written(self, value: object) -> None:
        """An event is written although orjson refuses one of its values."""
        found = orjson.loads(render_json({"event": "x", "value": value}))

        assert found["event"] == "x"
        assert "value" in found

    @settings(deadline=None)
    @given(
        st.dictionaries(st.text(max_size=9), st.text(max_size=30) | st.floats(allow_nan=False, allow_infinity=False))
    )
    def test_a_line_can_be_read_back(self, event: dict[str, Any]) -> None:
        """Any event is one line that can be decoded."""
        line = render_json(event)

        assert "\n" not in line
        assert orjson.loads(line) == event


@pytest.fixture(name="zone")
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine five and a half hours east of Greenwich."""
    monkeypatch.setenv("TZ", "XXX-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class TestTimestamp:
    """The time of a line."""

    MOMENT = 1_795_176_000.0  # 2026-11-20T12:00:00Z

    @pytest.mark.parametrize(
        ("utc", "text"), [(True, "2026-11-20T12:00:00.250Z"), (False, "2026-11-20T17:30:00.250+05:30")]
    )
    def test_times_are_iso_8601_with_milliseconds(
        self, utc: bool, text: str, zone: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Times are ISO 8601 with milliseconds: in UTC with a Z, or local with the offset."""
        monkeypatch.setattr(clock, "epoch", lambda: self.MOMENT + 0.25)

        assert timestamp(utc)() == text

    @pytest.mark.parametrize("utc", [True, False])
    def test_times_follow_the_clock(self, utc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Times are right within a second, in the next one, and after the clock was set back."""
        stamp = timestamp(utc)
        for offset in (0.0, 0.001, 0.999, 1.0, 59.5, 3600.125, -5.0):
            moment = self.MOMENT + offset
            monkeypatch.setattr(clock, "epoch", lambda moment=moment: moment)

            told = datetime.fromisoformat(stamp()).timestamp()

            assert abs(told - moment) < 0.0011


async def test_lines_of_several_processes_are_not_mixed_in_a_pipe() -> None:
    """Each write to a shared descriptor has whole lines, and no more than a pipe takes in one piece."""
    # Of a socket of this kind each read returns what was one write.
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sink = StreamSink(writer.detach(), render_kv, owned=True, shared=True)
    for number in range(100):
        sink.write({"line": number, "text": "x" * 100})
    sink.write({"text": "y" * 5_000})
    sink.close()
    with reader:
        written = list(iter(lambda: reader.recv(65_536), b""))
    assert len(b"".join(written).splitlines()) == 101
    assert all(data.endswith(b"\n") for data in written)
    assert [data for data in written if len(data) > 4_096] == [written[-1]]


async def test_the_lines_of_a_worker_have_its_number(tmp_path: Path) -> None:
    """Events and finished requests, in both formats."""
    for log_format, told in (("kv", "worker=2"), ("json", '"worker":2')):
        file = tmp_path / log_format
        logs = open_logs(log_format, True, f"file://{file}", worker=2)
        logs.take("info", "bind", {"port": 1})
        logs.access([("GET", "/health", 200, 0.001, "an-id")])
        logs.close()
        assert [told in line for line in file.read_text().splitlines()] == [True, True]


@pytest.mark.parametrize("log_format", ["kv", "json"])
async def test_a_service_writes_the_lines_that_structlog_would(
    configured: Any, tmp_path: Path, log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of all levels, of a request, with odd values and with a traceback, directly and through structlog."""
    path = tmp_path / "log"
    logs = configured(log_format, True, f"file://{path}")
    moment = clock.epoch()
    monkeypatch.setattr(clock, "epoch", lambda: moment)
    log = get_logger()

    async def write() -> None:
        REQUEST_ID.set("id-1")
        log.debug("job.hidden")
        log.info("job.started", job=1, command="a b", client='"=\\', slug="", seconds=0.5, none=None)
        log.info("job.named", request="own", worker=3)
        log.warning("job.odd", path=Path("/x"), exc_info=None)
        try:
            raise ValueError("no")
        except ValueError as error:
            log.exception("job.failed", job=1)
            log.error("job.broken", exc_info=error, job=2)

    await asyncio.create_task(write())
    await asyncio.sleep(0)  # lines are written in the next turn of the loop
    through, taken = path.read_text(), []
    take = Logs.take
    monkeypatch.setattr(Logs, "take", lambda self, *event: (taken.append(event[1]), take(self, *event)))
    await asyncio.create_task(logs.during(write()))
    await asyncio.sleep(0)
    assert path.read_text() == through * 2
    assert len(through.splitlines()) == 5
    assert taken == ["job.hidden", "job.started", "job.named", "job.odd", "job.failed", "job.broken"]
