"""The output of a command that runs for several machines at once: standard output and errors, apart for each machine.

`routed` replaces `sys.stdout` and `sys.stderr`. A task in whose context a Sink is set writes to that, others write to
the terminal, pipe or file as before.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any, Protocol, cast

import orjson

from smartmob.cli.host_lines import HostLines
from smartmob.cli.printing import escaped, printable

_MEMORY_BYTES = 1024 * 1024
"""Bytes of output of one machine that are kept in memory; more of it is kept in a temporary file."""
_PIECE_BYTES = 64 * 1024


class Sink(Protocol):
    """The output of the machine `name`."""

    name: str

    def write(self, data: bytes, *, error: bool) -> None:
        """Handle bytes of standard output or, with `error`, of standard error."""


SINK: ContextVar[Sink | None] = ContextVar("sink", default=None)
"""The output of the present task; None for that of this command."""


def is_one_of_many() -> bool:
    """Return whether the present task runs for one of several machines, so that it has no terminal and no input."""
    return SINK.get() is not None


def machine_name() -> str:
    """Return the name of the machine for which the present task runs, or "" if it does not run for several machines."""
    sink = SINK.get()
    return "" if sink is None else sink.name


class KeptOutput:
    """The output of a machine, kept until it is shown. Its errors are passed on at once, with `errors`."""

    def __init__(self, name: str, errors: PrefixedOutput) -> None:
        self.name = name
        self._errors = errors
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - closed by `close`
        self._size = 0

    def write(self, data: bytes, *, error: bool) -> None:
        """Keep output; show errors."""
        if error:
            self._errors.show(self.name, data, error=True)
            return
        self._file.write(data)
        self._size += len(data)

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> Iterator[bytes]:
        """Yield the kept output."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE_BYTES):
            yield piece

    def document(self) -> Any:
        """Return what was kept as JSON: a document, a list of the documents of lines, or None if there is nothing."""
        text = b"".join(self.pieces())
        if not text.strip():
            return None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return [orjson.loads(line) for line in text.splitlines() if line.strip()]

    def close(self) -> None:
        """Delete the kept output."""
        self._errors.end(self.name)
        self._file.close()


class PrefixedOutput:
    """Shows whole lines of several machines as they arrive, each with the name of its machine.

    With `as_json` lines of output are JSON objects, which get the name as `node`.
    """

    def __init__(self, names: Iterable[str], *, as_json: bool = False) -> None:
        names = tuple(names)
        self._as_json = as_json
        self._width = max(map(len, names), default=0)
        shown = [self._shown(name) for name in names]
        self._lines = {error: HostLines(shown, as_written=False, separator=" | ") for error in (False, True)}

    def show(self, name: str, data: bytes, *, error: bool) -> None:
        """Show the lines that are complete; raises OSError."""
        self._write(name, self._lines[error].add(self._shown(name), data), error=error)

    def end(self, name: str) -> None:
        """Show the last lines of a machine, which may have no line end."""
        for error, lines in self._lines.items():
            self._write(name, lines.end(self._shown(name)), error=error)

    def _shown(self, name: str) -> str:
        return printable(f"{name:<{self._width}}")

    def _write(self, name: str, text: str, *, error: bool) -> None:
        if not text:
            return
        if self._as_json and not error:
            head = len(self._shown(name)) + len(" | ")
            text = "".join(_with_node(line[head:], name) for line in text.splitlines())
        own = SINK.set(None)  # from here, writes go to the output of this command
        try:
            stream = sys.stderr if error else sys.stdout
            stream.write(text)
            stream.flush()
        finally:
            SINK.reset(own)


def _with_node(line: str, name: str) -> str:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        document = {"line": line}
    return escaped(orjson.dumps({"node": name, **document}).decode()) + "\n"


class LiveOutput:
    """The output of a machine, shown as it arrives."""

    def __init__(self, name: str, shown: PrefixedOutput) -> None:
        self.name = name
        self._shown = shown

    def write(self, data: bytes, *, error: bool) -> None:
        """Show output or errors."""
        self._shown.show(self.name, data, error=error)

    def close(self) -> None:
        """Show the remaining output."""
        self._shown.end(self.name)


@contextmanager
def routed() -> Iterator[None]:
    """Redirect the output of tasks to their sinks, until the end of the block."""
    before = sys.stdout, sys.stderr
    sys.stdout = cast("Any", _RoutedText(before[0], error=False))
    sys.stderr = cast("Any", _RoutedText(before[1], error=True))
    try:
        yield
    finally:
        # A command that found its output closed has set it to None, so that nothing more is written.
        sys.stdout = before[0] if sys.stdout is not None else cast("Any", None)
        sys.stderr = before[1]


class _RoutedBytes(io.RawIOBase):
    def __init__(self, real: IO[str], *, error: bool) -> None:
        self._real = real
        self._error = error

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        sink = SINK.get()
        if sink is None:
            self._real.buffer.write(data)  # type: ignore[attr-defined] # standard streams have it
        else:
            sink.write(bytes(data), error=self._error)
        return len(data)

    def flush(self) -> None:
        if SINK.get() is None and not self._real.closed:
            self._real.flush()


class _RoutedText(io.TextIOBase):
    encoding = "utf-8"

    def __init__(self, real: IO[str], *, error: bool) -> None:
        self._real = real
        self._error = error
        self.buffer = _RoutedBytes(real, error=error)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        sink = SINK.get()
        if sink is None:
            return self._real.write(text)
        sink.write(text.encode(errors="replace"), error=self._error)
        return len(text)

    def flush(self) -> None:
        if SINK.get() is None and not self._real.closed:
            self._real.flush()

    def isatty(self) -> bool:
        return SINK.get() is None and self._real.isatty()

    def fileno(self) -> int:
        return self._real.fileno()
