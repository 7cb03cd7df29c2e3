"""The pickles of the stock wire: read without an unpickler, and written. No I/O.

A pickle is a program, so none is ever run: the `decoder` builds the value, and then the value's types, depth and size
are checked.
"""

from __future__ import annotations

from datetime import datetime
from pickle import dumps
from typing import Any

from smartmob.commands.conplyent.decoder import (
    MESSAGE,
    MESSAGE_TYPE,
    MODULE,
    MOST_VALUES,
    Decoder,
    Message,
    Refused,
    Type,
)

DEEPEST = 32
_LONGEST_INTEGER = 256  # bits
_NUMBERS = frozenset(range(5))


def decode(data: bytes) -> tuple[Any, bool, dict[str, Any]]:
    """Return the type, the direction (True: asks) and the fields of a message; raises Refused.

    The type is the value of the original's enumeration: a tuple of one number, or the number 5.
    """
    message = Decoder(data).decode()
    state = message.state if type(message) is Message else None
    if state is None or len(state) != 3:
        raise Refused("the message is not one of the stock client's")
    kind, request, fields = (state.get(name) for name in ("_type", "_request", "_kwargs"))
    if type(kind) is not Type or type(request) is not bool or type(fields) is not dict:
        raise Refused("the message has not the fields of the stock client's")
    value = kind.value
    number = value[0] if type(value) is tuple and len(value) == 1 else None
    if not (type(value) is int and value == 5) and not (type(number) is int and number in _NUMBERS):
        raise Refused("the message has a type that no stock client knows")
    _Checker(len(data)).check(fields, 0)
    return value, request, fields


def encode(kind: object, request: bool, fields: dict[str, Any]) -> bytes:
    """Return a message as the stock client reads it. The values of `fields` must be `plain`."""
    head = _HEADS[kind, request]
    # Protocol 3, which every Python 3 reads; without its first two bytes and its STOP it stands inside of ours.
    return head + dumps(fields, 3)[2:-1] + b"ub."


def plain(value: object) -> object:
    """Return `value` if it can be read without importing anything but builtins and datetime, else its text.

    An exception becomes one of Python's own with plain arguments: the stock client raises what it unpickles.
    """
    if isinstance(value, BaseException):
        return exception(value)
    try:
        _Checker(1 << 40).check(value, 0)
    except Refused:
        return value.isoformat() if type(value) is not datetime and hasattr(value, "isoformat") else str(value)
    # None would end the listener of the stock client.
    return "None" if value is None else value


def exception(error: BaseException) -> BaseException:
    """Return `error` as an exception of Python's own that every client can build."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    if kind in (BaseException, Exception, object):
        return RuntimeError(str(error) or type(error).__name__)
    if isinstance(error, OSError) and isinstance(error.errno, int):
        named = (error.filename,) if isinstance(error.filename, str | bytes) else ()
        # OSError itself chooses the class that fits the number.
        return OSError(error.errno, error.strerror or "", *named)
    try:
        _Checker(1 << 20).check(error.args, 0)
        rebuilt: BaseException = kind(*error.args)
    except (Refused, TypeError):
        return RuntimeError(f"{kind.__name__}: {error}")
    return rebuilt


class _Checker:
    """Walks a value as a tree, so that one that contains itself many times is as large as it looks."""

    def __init__(self, size: int) -> None:
        self._values = MOST_VALUES
        self._size = 2 * size + 4096

    def check(self, value: object, depth: int) -> None:
        """Raise Refused for anything but plain values within the bounds."""
        self._values -= 1
        if depth > DEEPEST or self._values < 0:
            raise Refused("the message is nested too deeply or has too many values")
        if type(value) is str or type(value) is bytes or type(value) is bytearray:
            self._size -= len(value)
            if self._size < 0:
                raise Refused("the message repeats its values too often")
        elif type(value) is int:
            if value.bit_length() > _LONGEST_INTEGER:
                raise Refused("the message has a number of too many digits")
        elif type(value) is dict:
            for key, item in value.items():
                self.check(key, depth + 1)
                self.check(item, depth + 1)
        elif type(value) is list or type(value) is tuple or type(value) is set or type(value) is frozenset:
            for item in value:
                self.check(item, depth + 1)
        elif value is not None and type(value) not in (float, bool, datetime):
            raise Refused(f"a value of the message is a {type(value).__name__}")


def _head(number: int, *, tuple_value: bool, request: bool) -> bytes:
    """Return the beginning of a message up to its fields, without memo slots, so that those are free for the fields."""
    value = b"K" + bytes((number,)) + (b"\x85" if tuple_value else b"")
    made = f"c{MODULE}\n{MESSAGE}\n".encode() + b")\x81}("
    kind = b"X\x05\0\0\0_type" + f"c{MODULE}\n{MESSAGE_TYPE}\n".encode() + value + b"\x85R"
    asks = b"X\x08\0\0\0_request" + (b"\x88" if request else b"\x89")
    return b"\x80\x03" + made + kind + asks + b"X\x07\0\0\0_kwargs"


_HEADS: dict[tuple[object, bool], bytes] = {
    **{((n,), r): _head(n, tuple_value=True, request=r) for n in range(5) for r in (False, True)},
    **{(5, r): _head(5, tuple_value=False, request=r) for r in (False, True)},
}
