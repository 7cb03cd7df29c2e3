"""Destinations of log lines."""

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
from tests.open_files import OpenFiles

log = structlog.get_logger()


def _events(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestStandardStreams:
    """Standard output and standard error as the endpoint."""

    def test_warnings_go_to_standard_error_only(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """Info goes to standard output, warnings and errors to standard error, each once."""
        configured("json")

        log.info("bind", port=1)
        log.warning("writer.waiting")
        log.error("task.failed")
        log.critical("end")
        log.debug("unseen")

        out, err = capfd.readouterr()
        assert [orjson.loads(line)["event"] for line in out.splitlines()] == ["bind"]
        assert [orjson.loads(line)["event"] for line in err.splitlines()] == ["writer.waiting", "task.failed", "end"]

    def test_standard_error_as_endpoint_gets_each_line_once(
        self, configured: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """With standard error as the endpoint everything goes there once."""
        configured(endpoint="file:///dev/stderr")

        log.info("bind")
        log.error("task.failed")

        out, err = capfd.readouterr()
        assert out == ""
        assert [line.split()[2] for line in err.splitlines()] == ["event=bind", "event=task.failed"]

    def test_key_value_lines_begin_with_time_level_and_event(
        self, configured: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Time, level and event are first, and the other fields keep their order."""
        configured("kv", True)

        log.info("bind", transport="tcp", host="127.0.0.1", port=8080, note="two words")

        stamp, rest = capfd.readouterr().out.split(" ", 1)
        assert stamp.startswith("@timestamp=20")
        assert stamp.endswith("Z")
        assert rest == 'level=info event=bind transport=tcp host=127.0.0.1 port=8080 note="two words"\n'

    def test_json_lines_have_the_same_order(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """Each line is an object with the same members in the same order."""
        configured("json", False)

        log.info("bind", port=8080)

        event = orjson.loads(capfd.readouterr().out)
        assert list(event) == ["@timestamp", "level", "event", "port"]
        assert not event["@timestamp"].endswith("Z")

    def test_a_traceback_is_in_one_line(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """An exception is one line with its traceback."""
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

    def test_a_file_gets_all_events(self, configured: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """The file has all events, and standard error has the warnings and errors, too."""
        path = tmp_path / "log"
        configured("json", True, f"file://{path}")

        log.info("bind")
        log.error("task.failed")

        out, err = capfd.readouterr()
        assert out == ""
        assert [event["event"] for event in _events(path)] == ["bind", "task.failed"]
        assert [orjson.loads(line)["event"] for line in err.splitlines()] == ["task.failed"]

    def test_a_file_is_appended_and_private(self, configured: Any, tmp_path: Path) -> None:
        """Lines of an earlier run stay, and other users cannot read the file."""
        path = tmp_path / "log"
        for name in ("first", "second"):
            configured("json", True, f"file://{path}")
            log.info(name)

        assert [event["event"] for event in _events(path)] == ["first", "second"]
        assert path.stat().st_mode & 0o007 == 0

    def test_a_full_disk_stops_no_request(self, configured: Any) -> None:
        """A log that cannot be written raises no error."""
        configured("kv", True, "file:///dev/full")

        log.info("bind")

    async def test_lines_of_one_turn_are_one_write(self, tmp_path: Path) -> None:
        """Lines of one turn of the loop are written at its end, in order and in one write."""
        path = tmp_path / "log"
        sink = StreamSink(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), render_kv, owned=True)

        for number in range(3):
            sink.write({"n": number})
        assert path.read_text() == ""
        await asyncio.sleep(0)

        assert path.read_text() == "n=0\nn=1\nn=2\n"
        sink.close()

    async def test_close_writes_the_pending_lines(self, tmp_path: Path) -> None:
        """The last lines are written."""
        path = tmp_path / "log"
        sink = StreamSink(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), render_kv, owned=True)
        sink.write({"event": "stop"})

        sink.close()

        assert path.read_text() == "event=stop\n"

    def test_a_closed_pipe_is_no_error(self) -> None:
        """`smartmob serve | head` does not end the service."""
        reader, writer = os.pipe()
        os.close(reader)
        sink = StreamSink(writer, render_kv, owned=True)

        sink.write({"event": "bind"})
        sink.close()

    def test_a_line_with_a_file_name_of_any_bytes_is_written(self, configured: Any, tmp_path: Path) -> None:
        """A line with a file name of any bytes is written."""
        path = tmp_path / "log"
        for log_format in ("kv", "json"):
            configured(log_format, True, f"file://{path}")
            log.info("found", name=os.fsdecode(b"\xff.txt"))

        assert path.read_bytes().count(b"found") == 2


class TestRotation:
    """A file that another program moves or replaces."""

    def test_a_moved_file_is_created_again(self, tmp_path: Path) -> None:
        """Lines go to the moved file until the next check, then to a new file with the same permissions."""
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

    def test_a_replaced_or_truncated_file_is_continued(self, tmp_path: Path) -> None:
        """A file that logrotate created is continued, and so is one that it truncated (copytruncate)."""
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

    def test_an_unusable_path_keeps_the_open_file(self, tmp_path: Path) -> None:
        """No line is lost: the open file is used until the path is usable again."""
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

    def test_rotation_leaks_no_descriptor(self, tmp_path: Path) -> None:
        """After many rotations one descriptor is open."""
        path, now = tmp_path / "log", [0.0]
        sink = FileSink(str(path), render_kv, lambda: now[0])
        files = OpenFiles()
        for number in range(50):
            path.unlink()
            now[0] += 1.0
            sink.write({"n": number})
        assert len(files.more()) <= 1, "the new file may have another number"
        sink.close()

    def test_the_access_log_follows_the_rotation(self, configured: Any, tmp_path: Path) -> None:
        """The events `http.access` go to the new file, too."""
        path = tmp_path / "log"
        logs = configured("kv", True, f"file://{path}")
        logs.access([("GET", "/health", 200, 0.1, "x")])
        path.rename(tmp_path / "log.1")
        logs.endpoint._checked_at -= 2.0
        logs.access([("GET", "/ready", 200, 0.1, "x")])
        assert "path=/ready" in path.read_text()


class TestWrongEndpoints:
    """Invalid endpoints."""

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
    def test_an_invalid_endpoint_is_refused(self, configured: Any, endpoint: str) -> None:
        """The error names the option and the valid forms."""
        with pytest.raises(SettingsError, match=r"^--logging-endpoint: .*fluent://HOST:PORT/APP"):
            configured(endpoint=endpoint)

    def test_an_unwritable_file_is_refused(self, configured: Any, tmp_path: Path) -> None:
        """The error names the file and the reason."""
        with pytest.raises(SettingsError, match=r"cannot write .*/none/log: No such file"):
            configured(endpoint=f"file://{tmp_path}/none/log")

    def test_a_missing_extra_is_named(self, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the library fluent-logger, the error names the extra."""
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

    def test_fluentd_gets_each_event(self, configured: Any, capfd: pytest.CaptureFixture[str]) -> None:
        """A server of the forward protocol gets each event under the tag `app.event`, with all its fields."""
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

    def test_an_unreachable_fluentd_blocks_nothing(self, configured: Any) -> None:
        """An unreachable log server delays neither the service nor its stop."""
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            logs = configured("kv", True, f"fluent://127.0.0.1:{reserved.getsockname()[1]}/app")

            log.info("bind")
            logs.close()


class TestLibraries:
    """Logging by libraries."""

    def test_warnings_of_libraries_become_events(self, configured: Any, tmp_path: Path) -> None:
        """Warnings and errors become events with the name of the library; lower levels are dropped."""
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

    def test_custom_levels_are_accepted(self, configured: Any, tmp_path: Path) -> None:
        """A custom level of a library is rounded down to a standard one."""
        path = tmp_path / "log"
        configured("json", True, f"file://{path}")

        logging.getLogger("some.library").log(35, "between warning and error")

        assert [event["message"] for event in _events(path)] == ["between warning and error"]

    def test_a_wrong_log_call_of_a_library_is_no_error(self, configured: Any) -> None:
        """A wrong log call in a library does not break the library."""
        configured("json", True, "file:///dev/null")

        logging.getLogger("some.library").warning("%d pieces", "many")


class TestRequestId:
    """The id of the request in log lines."""

    def test_a_line_has_the_id_of_its_request(self, configured: Any, tmp_path: Path) -> None:
        """A line has the id of its request unless it names another, and none outside requests."""
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
    """The event `http.access`."""

    @pytest.mark.parametrize("log_format", ["kv", "json"])
    def test_the_fast_path_writes_the_same_bytes(
        self, configured: Any, tmp_path: Path, log_format: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The fast path writes the same bytes as the path of all other events."""
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

    def test_each_of_many_paths_is_logged(self, configured: Any, tmp_path: Path) -> None:
        """Each of many different paths is logged as it is."""
        path = tmp_path / "log"
        logs = configured("kv", True, f"file://{path}")

        numbers = [*range(600), *range(590, 600), *range(10)]
        logs.access([("GET", f"/{number} x", 200, 0.0, "i") for number in numbers])

        lines = path.read_text().splitlines()
        assert all(f' path="/{number} x" ' in line for number, line in zip(numbers, lines, strict=True))

    def test_an_odd_id_among_plain_ones_is_quoted(self, configured: Any, tmp_path: Path) -> None:
        """Requests that finish together have ids of clients, of which only some need quotes."""
        path = tmp_path / "log"
        logs = configured("kv", True, f"file://{path}")

        logs.access([("GET", "/", 200, 0.25, given) for given in ("a-1", "b=2", "c-3")])

        ids = [line.rpartition(" ")[2] for line in path.read_text().splitlines()]
        assert ids == ["request=a-1", 'request="b=2"', "request=c-3"]

    def test_several_requests_are_logged_in_order(self, configured: Any, tmp_path: Path) -> None:
        """Several requests have one line each, in order."""
        path = tmp_path / "log"
        logs = configured("json", True, f"file://{path}")

        logs.access([("GET", f"/{number}", 200, 0.25, "i") for number in range(3)])

        assert [(event["path"], event["duration"]) for event in _events(path)] == [
            ("/0", 0.25),
            ("/1", 0.25),
            ("/2", 0.25),
        ]

    @pytest.mark.parametrize("log_format", ["kv", "json"])
    def test_a_path_that_is_not_utf_8_is_logged(self, configured: Any, tmp_path: Path, log_format: str) -> None:
        """A path that is not UTF-8 loses neither its own line nor others of the same turn."""
        path = tmp_path / "log"
        logs = configured(log_format, True, f"file://{path}")

        logs.access([("GET", "/\udcff", 404, 0.0, "i"), ("GET", "/next", 200, 0.0, "j")])

        assert len(path.read_bytes().splitlines()) == 2
