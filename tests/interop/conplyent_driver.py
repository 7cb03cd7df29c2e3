"""Runs in an environment with conplyent's client: takes the steps of a document and writes the result of each."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import conplyent


def as_json(value: Any) -> Any:
    """Return a value in JSON types."""
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "text": str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else {"class": type(value).__name__}


def attempt(work: Any) -> Any:
    """Return the result of `work`, or the exception that it raises."""
    try:
        return as_json(work())
    except Exception as error:
        return {"raised": type(error).__name__, "text": str(error)}


class Driver:
    """One connection, and the steps that are taken with it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = conplyent.client.add("127.0.0.1", port=port)
        self.listeners: dict[str, Any] = {}

    def step(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Take one step."""
        own = getattr(self, f"do_{name}", None)
        if own is not None:
            return attempt(lambda: own(*args, **kwargs))
        return attempt(lambda: getattr(self.connection, name)(*args, **kwargs))

    def do_write(self, path: str, text: str, append: bool = False) -> Any:
        """Write a text as bytes, which JSON does not have."""
        return self.connection.wrfile(path, text.encode(), append=append)

    def do_begin(self, key: str, name: str, *args: Any, **kwargs: Any) -> Any:
        """Start a command and keep its listener."""
        self.listeners[key] = listener = getattr(self.connection, name)(*args, complete=False, **kwargs)
        return listener.id > 0

    def do_next(self, key: str) -> Any:
        """Return a listener's next message."""
        return self.listeners[key].next()

    def do_rest(self, key: str) -> Any:
        """Return a listener's messages until the end, and the exit code."""
        listener = self.listeners[key]
        return [list(iter(listener.next, None)), listener.done, listener.exit_code]

    def do_count(self, key: str) -> Any:
        """Return the number of messages until the end, and the last message."""
        found = list(iter(self.listeners[key].next, None))
        return [len(found), found[-1]]

    def do_on(self, name: str, key: str, *args: Any) -> Any:
        """Call a command with the number of a job as its first argument."""
        return getattr(self.connection, name)(self.listeners[key].id, *args)

    def do_object(self) -> Any:
        """Pass an object of a class that the server must refuse."""
        return self.connection.ls(threading.Event, raise_error=True)

    def do_unknown(self) -> Any:
        """Call a command that does not exist."""
        return self.connection._command_server("no_such_command", raise_error=True)


def main() -> None:
    """Read the document, take the steps, and write the results."""
    document = json.load(sys.stdin)
    driver = Driver(document["port"])
    found = [driver.step(step[0], *step[1], **step[2]) for step in document["steps"]]
    driver.connection.close()
    json.dump(found, sys.stdout)


main()
