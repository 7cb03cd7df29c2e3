"""The lines of several machines on one output, each with the name of its machine before it."""

from __future__ import annotations

from collections.abc import Iterable

from smartmob.client.messages import LineSplitter


class HostLines:
    """The lines of several hosts, each with the name of its host and `separator` before it.

    `as_written` is for a terminal: a line without its end, such as a prompt, is shown at once, and when another host
    writes in the meantime, the rest of it begins a new line. Without it only whole lines are shown.
    """

    def __init__(self, hosts: Iterable[str], *, as_written: bool, separator: str = ": ") -> None:
        self._lines = {host: LineSplitter() for host in hosts}
        self._as_written = as_written
        self._separator = separator
        self._open: str | None = None

    def add(self, host: str, data: bytes) -> str:
        """Return the text to show after output of a host."""
        lines = self._lines[host]
        found = lines.add(data)
        if self._as_written and lines.has_rest:
            found.append(lines.take_rest())
        return self._shown(host, found)

    def end(self, host: str) -> str:
        """Return the text to show at the end of a host's output; its last line gets a line end."""
        shown = self._shown(host, self._lines[host].end())
        if self._open == host:
            self._open = None
            shown += "\n"
        return shown

    def _shown(self, host: str, texts: list[str]) -> str:
        shown = ""
        for text in texts:
            if self._open != host:
                shown += ("\n" if self._open is not None else "") + f"{host}{self._separator}"
            shown += text
            self._open = None if text.endswith("\n") else host
        return shown
