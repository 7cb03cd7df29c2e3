"""The calls of commands that the audit log records. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from smartmob.kernel.audit.model import summary

_UNRECORDED = frozenset(
    (
        *("attach", "cd", "cwd", "end_input", "env", "find_files", "get_time", "is_alive", "jobs", "ls", "os_info"),
        *("ps", "resize", "send_input", "user_name"),
    )
)
"""Commands that change nothing and read no content of a file, or belong to a job that is recorded."""
_LONGEST_BYTES = 1024 * 1024
"""Bytes of a message that is read here; longer messages are not read at all."""


class _Call(msgspec.Struct, frozen=True):
    type: str
    name: str = ""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


_CALL = msgspec.json.Decoder(_Call)
_NAMED = ("cmd", "path", "src", "dest", "job_num", "number")
"""Arguments by name that say what a command is about; others, such as variables and contents, are left out."""
_CONTENTS = frozenset(("wrfile", "put", "place"))
"""Commands whose further arguments are contents."""


def is_recorded(name: str) -> bool:
    """Return whether calls of a command are recorded."""
    return name not in _UNRECORDED


def words(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """Return what a call is about, without contents and variables."""
    given = list(args[:1] if name in _CONTENTS else args)
    return summary([*given, *(kwargs[key] for key in _NAMED if key in kwargs)])


def read(text: str) -> tuple[str, str] | None:
    """Return the name and words of the call in a WebSocket message, or None if no call is to be recorded."""
    if '"call"' not in text[:_LONGEST_BYTES]:
        return None
    if len(text) > _LONGEST_BYTES:
        return "call", "a message of more than a mebibyte"
    try:
        call = _CALL.decode(text)
    except msgspec.MsgspecError:
        return None
    if call.type != "call" or not is_recorded(call.name):
        return None
    return call.name, words(call.name, call.args, call.kwargs)
