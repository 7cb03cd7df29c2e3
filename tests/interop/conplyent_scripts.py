"""Runs in an environment with conplyent's client: scripts of the four kinds that its users write.

A tour through all commands, a runner of tests that polls with a limit, tests that send a file and run it, and a prompt
that passes on typed lines. The document has the port and a folder; the result is what each script has seen.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import conplyent
import zmq

_LONGEST_SECONDS = 800


def connected(port: int) -> Any:
    """Return a connection."""
    connection = conplyent.client.add("localhost", port=port)
    connection.connect(timeout=_LONGEST_SECONDS)
    return connection


def connected_again(connection: Any) -> None:
    """Disconnect and connect.

    The client does not wait until its socket has left the old connection, and ZeroMQ does not tell when it has. Until
    then a PAIR socket refuses a further one, and the client's first message raises `Again`.
    """
    connection.disconnect()
    while True:
        try:
            connection.connect(timeout=_LONGEST_SECONDS)
        except zmq.Again:
            connection.disconnect()
            time.sleep(0.1)
        else:
            return


def tour(port: int, folder: Path) -> list[Any]:
    """Use the commands as they come, a listener with its timeouts among them."""
    seen: list[Any] = []
    with connected(port) as connection:
        connection.cd(str(folder))
        seen.append([type(each).__name__ for each in connection.cd("nowhere")])
        try:
            connection.cd("nowhere", raise_error=True)
        except FileNotFoundError:
            seen.append("no folder")
        connection.mkdir("made")
        connection.touch("made/file")
        try:
            connection.rm("made", raise_error=True)
        except ValueError:
            seen.append("not empty")
        connection.rm("made", recursive=True)
        asking = "x = input('first? '); print('got', x); print('then', input())"
        with connection.exec(["python3", "-u", "-c", asking], complete=False, max_interval=0.5) as listener:
            seen.append(connection.is_alive(listener.id))
            for answer in ("one", "two"):
                listener.clear_messages()  # all that comes before it waits for input
                connection.send_input(listener.id, answer)
            listener.max_interval = None
            seen.append([list(iter(listener.next, None))[-1], listener.done, listener.exit_code])
        seen.append([connection.is_alive(listener.id), connection.send_input(0xFFFF, "HI")])
        connection.exec("read x", complete=False)
        connected_again(connection)
        seen.append(connection.cwd() == [str(folder)])
    return seen


def runner(port: int, folder: Path) -> list[Any]:
    """Run tests as a harness does: wait for each line for a while, ask whether the server lives, and go on."""
    connection, seen = connected(port), []
    connection.cd(str(folder))
    for code in (0, 3):
        listener = connection.exec(f"echo begin; read x; echo end; exit {code}", complete=False, max_interval=0.2)
        lines, beats = [], 0
        while True:
            try:
                line = listener.next()
            except conplyent.ClientTimeout:
                if listener.done or not connection.heartbeat(timeout=_LONGEST_SECONDS):
                    raise
                beats += 1
                connection.send_input(listener.id, "go on")
                continue
            if line is None:
                break
            lines.append(line)
        seen.append([lines[1:], beats > 0, listener.exit_code])
    connection.close()
    return seen


def sender(port: int, folder: Path) -> list[Any]:
    """Send a file, check it there, run it, and read what it wrote."""
    connection, source = connected(port), folder / "source.py"
    source.write_text("open('result', 'w').write('done ' * 1000)\n")
    connection.cd(str(folder))
    connection.transfer(str(source), "sent.py", 16, raise_error=True)
    there = connection.exec("sha256sum sent.py; python3 sent.py")
    read = connection.rdfile("result", limit=2048)
    seen = [
        there[0].split()[0] == hashlib.sha256(source.read_bytes()).hexdigest(),
        b"".join(read[1:]) == b"done " * 1000,
        connection.rm("sent.py", raise_error=True),
        "transfer" in connection.server_methods(),
    ]
    connection.close()
    return seen


def prompt(port: int, folder: Path) -> list[Any]:
    """Pass typed lines on, with words as Python values, from several threads at a time."""
    lines = (
        f"cd {folder}",
        "mkdir typed",
        "ls typed",
        "rm typed recursive=True",
        "exec 'echo two words'",
        "is_alive 5",
    )
    seen: dict[int, list[Any]] = {}

    def type_lines(number: int) -> None:
        connection = connected(port)
        answers = seen.setdefault(number, [])
        for line in lines if number == 0 else lines[4:]:
            name, *words = [word for word in re.split(r"'(.*)'| ", line) if word]
            values: list[Any] = []
            options: dict[str, Any] = {}
            for word in words:
                key, separator, text = word.rpartition("=")
                try:
                    value = ast.literal_eval(text)
                except (ValueError, SyntaxError):
                    value = text
                options.update({key: value}) if separator else values.append(value)
            answers.append(getattr(connection, name)(*values, **options, complete=True))
        connection.close()

    threads = [threading.Thread(target=type_lines, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [seen[number] for number in sorted(seen)]


if __name__ == "__main__":
    document = json.load(sys.stdin)
    found = [script(document["port"], Path(document["folder"])) for script in (tour, runner, sender, prompt)]
    json.dump(found, sys.stdout)
