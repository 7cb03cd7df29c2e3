"""Where log lines go."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

import msgpack
import orjson
import pytest
import structlog
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from smartmob.errors import SettingsError
from smartmob.kernel.observability.log import REQUEST_ID, FileSink, StreamSink, render_kv
from smartmob.kernel.runtime import clock

log = structlog.get_logger()


def _events(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestStandardStreams:
    """The default endpoint, and its sibling."""

    def test_split_by_level(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """What is well goes to standard output, warnings and errors to standard error, each once."""
        configured("json")

        log.info("bind", port=1)
        log.warning("writer.waiting")
        log.error("task.failed")
        log.critical("end")
        log.debug("unseen")

        out, err = capfd.readouterr()
        assert [orjson.loads(line)["event"] for line in out.splitlines()] == ["bind"]
        assert [orjson.loads(line)["event"] for line in err.splitlines()] == ["writer.waiting", "task.failed", "end"]

    def test_all_on_standard_error(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """With that endpoint everything goes there, and nothing twice."""
        configured(endpoint="file:///dev/stderr")

        log.info("bind")
        log.error("task.failed")

        out, err = capfd.readouterr()
        assert out == ""
        assert [line.split()[2] for line in err.splitlines()] == ["event=bind", "event=task.failed"]

    def test_key_value_lines(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """Time, level and event stand first, the rest follows in the order given."""
        configured("kv", True)

        log.info("bind", transport="tcp", host="127.0.0.1", port=8080, note="two words")

        stamp, rest = capfd.readouterr().out.split(" ", 1)
        assert stamp.startswith("@timestamp=20")
        assert stamp.endswith("Z")
        assert rest == 'level=info event=bind transport=tcp host=127.0.0.1 port=8080 note="two words"\n'

    def test_json_lines(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """Each line is an object with the same members in the same order."""
        configured("json", False)

        log.info("bind", port=8080)

        event = orjson.loads(capfd.readouterr().out)
        assert list(event) == ["@timestamp", "level", "event", "port"]
        assert not event["@timestamp"].endswith("Z")

    def test_a_traceback_is_part_of_its_line(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """An exception is one line as well, and tells where it came from."""
        configured("json")
        try:
            raise ValueError("no way")
        except ValueError as error:
            log.error("task.failed", exc_info=error)

        (line,) = capfd.readouterr().err.splitlines()
        assert "ValueError: no way" in orjson.loads(line)["exception"]
        assert "test_log_output.py" in orjson.loads(line)["exception"]


class TestFile:
    """A file as the endpoint."""

    def test_everything_is_in_the_file(
        self, configured: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The file has all events, and standard error the troubled ones as well."""
        path = tmp_path / "log"
        configured("json", True, f"file://{path}")

        log.info("bind")
        log.error("task.failed")

        out, err = capfd.readouterr()
        assert out == ""
        assert [event["event"] for event in _events(path)] == ["bind", "task.failed"]
        assert [orjson.loads(line)["event"] for line in err.splitlines()] == ["task.failed"]

    def test_it_is_continued(self, configured: Any, tmp_path: Path) -> None:
        """Lines of an earlier run stay, and others cannot read the file."""
        path = tmp_path / "log"
        for name in ("first", "second"):
            configured("json", True, f"file://{path}")
            log.info(name)

        assert [event["event"] for event in _events(path)] == ["first", "second"]
        assert path.stat().st_mode & 0o007 == 0

    def test_a_full_disk(self, configured: Any) -> None:
        """A log that cannot be written stops nobody."""
        configured("kv", True, "file:///dev/full")

        log.info("bind")

    async def test_lines_of_one_turn(self, tmp_path: Path) -> None:
        """What is logged in one turn of the loop is written at its end, in order and in one piece."""
        path = tmp_path / "log"
        sink = StreamSink(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), render_kv, owned=True)

        for number in range(3):
            sink.write({"n": number})
        assert path.read_text() == ""
        await asyncio.sleep(0)

        assert path.read_text() == "n=0\nn=1\nn=2\n"
        sink.close()

    async def test_closing_writes_what_is_held(self, tmp_path: Path) -> None:
        """The last lines are not lost."""
        path = tmp_path / "log"
        sink = StreamSink(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), render_kv, owned=True)
        sink.write({"event": "stop"})

        sink.close()

        assert path.read_text() == "event=stop\n"

    def test_a_reader_that_has_left(self) -> None:
        """`smartmob serve | head` does not end the service."""
        reader, writer = os.pipe()
        os.close(reader)
        sink = StreamSink(writer, render_kv, owned=True)

        sink.write({"event": "bind"})
        sink.close()

    def test_names_that_are_no_text(self, configured: Any, tmp_path: Path) -> None:
        """The name of a file may have any bytes; its line is written all the same."""
        path = tmp_path / "log"
        for log_format in ("kv", "json"):
            configured(log_format, True, f"file://{path}")
            log.info("found", name=os.fsdecode(b"\xff.txt"))

        assert path.read_bytes().count(b"found") == 2


class TestRotation:
    """A file that somebody else moves away."""

    def test_a_file_that_was_moved(self, tmp_path: Path) -> None:
        """Lines go to the old file until the name is looked at, then to a new one with the same permissions."""
        path, old, now = tmp_path / "log", tmp_path / "log.1", [0.0]
        sink = FileSink(str(path), render_kv, lambda: now[0])
        sink.write({"n": 1})
        path.rename(old)
        sink.write({"n": 2})
        now[0] = 1.0
        sink.write({"n": 3})
        sink.close()
        assert (old.read_text(), path.read_text()) == ("n=1\nn=2\n", "n=3\n")
        assert path.stat().st_mode & 0o007 == 0

    def test_a_file_that_was_replaced(self, tmp_path: Path) -> None:
        """The file that logrotate has made is continued, and one that was cut short (copytruncate) as well."""
        path, now = tmp_path / "log", [0.0]
        sink = FileSink(str(path), render_kv, lambda: now[0])
        sink.write({"n": 1})
        path.rename(tmp_path / "log.1")
        path.write_text("made by logrotate\n")
        now[0] = 2.0
        sink.write({"n": 2})
        assert path.read_text() == "made by logrotate\nn=2\n"
        os.truncate(path, 0)
        sink.write({"n": 3})
        sink.close()
        assert path.read_text() == "n=3\n"

    def test_a_name_that_cannot_be_had(self, tmp_path: Path) -> None:
        """Nothing is lost: the file that is open goes on until the name is there again."""
        folder, now = tmp_path / "logs", [0.0]
        folder.mkdir()
        sink = FileSink(str(folder / "log"), render_kv, lambda: now[0])
        sink.write({"n": 1})
        folder.rename(tmp_path / "away")
        now[0] = 1.0
        sink.write({"n": 2})
        folder.mkdir()
        now[0] = 2.0
        sink.write({"n": 3})
        sink.close()
        assert (tmp_path / "away" / "log").read_text() == "n=1\nn=2\n"
        assert (folder / "log").read_text() == "n=3\n"

    def test_no_descriptor_is_left(self, tmp_path: Path) -> None:
        """A log that is rotated for years holds one file."""
        path, now = tmp_path / "log", [0.0]
        sink = FileSink(str(path), render_kv, lambda: now[0])
        before = len(os.listdir("/proc/self/fd"))
        for number in range(50):
            path.unlink()
            now[0] += 1.0
            sink.write({"n": number})
        assert len(os.listdir("/proc/self/fd")) == before
        sink.close()

    def test_requests_follow_too(self, configured: Any, tmp_path: Path) -> None:
        """The quick way of `http.access` writes to the same file."""
        path = tmp_path / "log"
        logs = configured("kv", True, f"file://{path}")
        logs.access([("GET", "/health", 200, 0.1, "x")])
        path.rename(tmp_path / "log.1")
        logs.endpoint._checked_at -= 2.0
        logs.access([("GET", "/ready", 200, 0.1, "x")])
        assert "path=/ready" in path.read_text()


class TestWrongEndpoints:
    """What is no endpoint."""

    @pytest.mark.parametrize(
        "endpoint",
        [
            "",
            "stdout",
            "/var/log/x",
            "file:",
            "file://",
            "file://host/x",
            "http://h/x",
            "fluent:",
            "fluent://host",
            "fluent://host:24224",
            "fluent://host:24224/",
            "fluent://:24224/app",
            "fluent:///app",
            "syslog:///x",
            "fluent://host:port/app",
            "fluent://host:99999/app",
            "fluent://host:-1/app",
            "fluent://[/app",
        ],
    )
    def test_it_is_refused(self, configured: Any, endpoint: str) -> None:
        """The start stops with the name of the option and what is meant."""
        with pytest.raises(SettingsError, match=r"^--logging-endpoint: .*fluent://HOST:PORT/APP"):
            configured(endpoint=endpoint)

    def test_a_file_that_cannot_be_written(self, configured: Any, tmp_path: Path) -> None:
        """The error says which and why."""
        with pytest.raises(SettingsError, match=r"cannot write .*/none/log: No such file"):
            configured(endpoint=f"file://{tmp_path}/none/log")

    def test_without_the_extra(self, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who has not installed the library is told how."""
        monkeypatch.setitem(sys.modules, "fluent", None)

        with pytest.raises(SettingsError, match=r"pip install 'smartmob\[fluent\]'"):
            configured(endpoint="fluent://127.0.0.1:24224/app")


def _received(server: socket.socket) -> list[Any]:
    connection, _ = server.accept()
    unpacker = msgpack.Unpacker()
    with connection:
        while data := connection.recv(65536):
            unpacker.feed(data)
    return list(unpacker)


class TestFluent:
    """A fluentd as the endpoint."""

    def test_events_arrive(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """A server of the forward protocol gets each event under the tag `app.event`, with all its members."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            logs = configured("kv", True, f"fluent://127.0.0.1:{server.getsockname()[1]}/smart.mob")
            log.info("bind", port=8080, path=Path("/a"), ready=True, none=None, share=0.5)
            log.error("task.failed", task="x")
            logs.access([("GET", "/health", 200, 0.001, "id-1")])
            logs.close()
            messages = _received(server)

        assert [message[0] for message in messages] == [
            "smart.mob.bind",
            "smart.mob.task.failed",
            "smart.mob.http.access",
        ]
        bind, failed, access = (message[2] for message in messages)
        assert bind.pop("@timestamp").endswith("Z")
        assert bind == {
            "level": "info", "event": "bind", "port": 8080, "path": "/a", "ready": True, "none": None, "share": 0.5,
        }  # fmt: skip
        assert failed["task"] == "x"
        assert (access["path"], access["outcome"], access["duration"]) == ("/health", 200, 0.001)
        assert "task.failed" in capfd.readouterr().err

    def test_nobody_listens(self, configured: Any) -> None:
        """A log server that is away neither stops the service nor its end."""
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            logs = configured("kv", True, f"fluent://127.0.0.1:{reserved.getsockname()[1]}/app")

            log.info("bind")
            logs.close()


class TestLibraries:
    """What libraries say through `logging`."""

    def test_warnings_come_through(self, configured: Any, tmp_path: Path) -> None:
        """Warnings and worse become events, with the library's name and its words; less is dropped."""
        path = tmp_path / "log"
        configured("json", True, f"file://{path}")
        library = logging.getLogger("some.library")

        library.info("unseen")
        library.warning("%s is %d", "x", 7)
        try:
            raise ValueError("no way")
        except ValueError:
            library.exception("failed")

        first, second = _events(path)
        assert (first["event"], first["level"], first["logger"], first["message"]) == (
            "library.logged", "warning", "some.library", "x is 7",
        )  # fmt: skip
        assert "exception" not in first
        assert second["level"] == "error"
        assert "ValueError: no way" in second["exception"]

    def test_odd_levels(self, configured: Any, tmp_path: Path) -> None:
        """A level of a library's own is no reason to fail."""
        path = tmp_path / "log"
        configured("json", True, f"file://{path}")

        logging.getLogger("some.library").log(35, "between warning and error")

        assert [event["message"] for event in _events(path)] == ["between warning and error"]

    def test_wrong_arguments(self, configured: Any) -> None:
        """A mistake in a library's own log call does not break what the library does."""
        configured("json", True, "file:///dev/null")

        logging.getLogger("some.library").warning("%d pieces", "many")


class TestRequestId:
    """The id of the request that is served."""

    def test_it_is_in_every_line(self, configured: Any, tmp_path: Path) -> None:
        """A line has the id of its request, unless it names another, and none outside of requests."""
        path = tmp_path / "log"
        configured("json", True, f"file://{path}")

        log.info("before")
        token = REQUEST_ID.set("id-1")
        log.info("within")
        log.info("of another", request="id-2")
        REQUEST_ID.reset(token)
        log.info("after")

        assert [event.get("request") for event in _events(path)] == [None, "id-1", "id-2", None]


# What the entrance lets through as an id, and what a request line can hold.
request_ids = st.from_regex(r"[A-Za-z0-9._:/+=@-]{1,20}", fullmatch=True)
methods = st.sampled_from(["GET", "POST", "M-SEARCH"]) | st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Z-]{1,8}", fullmatch=True)
durations = st.floats(0, 1e5)


class TestAccess:
    """The line of a finished request."""

    @pytest.mark.parametrize("log_format", ["kv", "json"])
    def test_it_is_what_the_logger_would_write(
        self, configured: Any, tmp_path: Path, log_format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The quick way writes the same bytes as the way of all other events."""
        path = tmp_path / "log"
        logs = configured(log_format, True, f"file://{path}")
        moment = clock.epoch()
        monkeypatch.setattr(clock, "epoch", lambda: moment)
        descriptor = os.open(path, os.O_RDONLY)

        @hypothesis_settings(deadline=None)
        @given(methods, st.text(max_size=20), st.integers(100, 599), durations, request_ids)
        @example("GET", "/", 200, 0.0, "id-1")
        @example("GET", "/a b", 200, 1e-7, "a=b")
        def check(method: str, at: str, outcome: int, duration: float, request: str) -> None:
            logs.access([(method, at, outcome, duration, request)])
            quick = os.read(descriptor, 65536)
            log.info(
                "http.access", method=method, path=at, outcome=outcome, duration=round(duration, 6), request=request
            )
            assert quick == os.read(descriptor, 65536)

        try:
            check()
        finally:
            os.close(descriptor)

    def test_many_paths(self, configured: Any, tmp_path: Path) -> None:
        """However many addresses are asked for, each has its own."""
        path = tmp_path / "log"
        logs = configured("kv", True, f"file://{path}")

        numbers = [*range(600), *range(590, 600), *range(10)]
        logs.access([("GET", f"/{number} x", 200, 0.0, "i") for number in numbers])

        lines = path.read_text().splitlines()
        assert all(f' path="/{number} x" ' in line for number, line in zip(numbers, lines, strict=True))

    def test_several_at_once(self, configured: Any, tmp_path: Path) -> None:
        """Each has its line, in order."""
        path = tmp_path / "log"
        logs = configured("json", True, f"file://{path}")

        logs.access([("GET", f"/{number}", 200, 0.25, "i") for number in range(3)])

        assert [(event["path"], event["duration"]) for event in _events(path)] == [
            ("/0", 0.25),
            ("/1", 0.25),
            ("/2", 0.25),
        ]

    @pytest.mark.parametrize("log_format", ["kv", "json"])
    def test_an_address_that_is_no_text(self, configured: Any, tmp_path: Path, log_format: str) -> None:
        """Bytes that are no UTF-8 do not cost the line, nor those of the others in the same turn."""
        path = tmp_path / "log"
        logs = configured(log_format, True, f"file://{path}")

        logs.access([("GET", "/\udcff", 404, 0.0, "i"), ("GET", "/next", 200, 0.0, "j")])

        assert len(path.read_bytes().splitlines()) == 2
