"""The calls of commands that the audit log records."""

from __future__ import annotations

import json

from smartmob.kernel.audit import recorded_calls


def test_a_call_is_recorded_without_contents_and_variables() -> None:
    """Its name and what it is about; other messages, commands that change nothing and broken texts are not recorded."""

    def message(name: str, args: list[object], kwargs: dict[str, object]) -> str:
        return json.dumps({"type": "call", "id": 1, "name": name, "args": args, "kwargs": kwargs})

    assert recorded_calls.read(message("exec", [["ls", "-l"]], {"env": {"PASSWORD": "secret"}})) == ("exec", "ls -l")
    assert recorded_calls.read(message("exec", [], {"cmd": "uptime", "env": {"A": "secret"}})) == ("exec", "uptime")
    assert recorded_calls.read(message("wrfile", ["/tmp/x", "c2VjcmV0"], {})) == ("wrfile", "/tmp/x")
    assert recorded_calls.read(message("wrfile", [], {"path": "/tmp/x", "data": "c2VjcmV0"})) == ("wrfile", "/tmp/x")
    assert recorded_calls.read(message("kill", [3], {})) == ("kill", "3")
    for text in (message("ls", ["/"], {}), '{"type": "ping", "n": "call"}', '{"type": "call"', '"call"', "[]", ""):
        assert recorded_calls.read(text) is None
    assert recorded_calls.read('{"type": "call", "name": "exec", "args": ["' + "x" * 2_000_000 + '"]}') is not None
