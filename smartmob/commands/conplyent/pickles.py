"""The pickles of conplyent's wire: read without an unpickler, and written. No I/O.

A pickle is a program, so it is never run: the `decoder` builds the value, and then its types, depth and size are
checked.
"""

from __future__ import annotations

from datetime import datetime
from pickle import dumps
from typing import Any

from smartmob.commands.conplyent.decoder import (
    MESSAGE,
    MESSAGE_TYPE,
    MODULE,
    MOST_VALUES_COUNT,
    Decoder,
    InvalidPickle,
    MessageStandIn,
    TypeStandIn,
)

DEEPEST_LEVELS = 32
_LONGEST_INTEGER_BITS = 256
_SMALL_MESSAGE_BYTES = 4096
"""Bytes of texts that even the shortest message may have when it is written out."""
_LONGEST_REPLY_BYTES = 1 << 40  # the size of replies is not limited here; only their types are checked
_LONGEST_EXCEPTION_BYTES = 1 << 20

# The values of MSGType (conplyent 0.2.17, `conplyent/_msg.py`): 1-tuples, except SYNC.
_TUPLE_NUMBERS = frozenset(range(5))
_SYNC = 5  # not a tuple


def decode(data: bytes) -> tuple[Any, bool, dict[str, Any]]:
    """Return the type, the direction (True for a request) and the fields of a message; raises InvalidPickle.

    The type is the value of a member of MSGType: a tuple of one number, or the number 5.
    """
    message = Decoder(data).decode()
    state = message.state if type(message) is MessageStandIn else None
    if state is None or len(state) != 3:
        raise InvalidPickle("the message is not one of a conplyent client")
    kind, request, fields = (state.get(name) for name in ("_type", "_request", "_kwargs"))
    if type(kind) is not TypeStandIn or type(request) is not bool or type(fields) is not dict:
        raise InvalidPickle("the message does not have the fields of a conplyent client's")
    value = kind.value
    number = value[0] if type(value) is tuple and len(value) == 1 else None
    if not (type(value) is int and value == _SYNC) and not (type(number) is int and number in _TUPLE_NUMBERS):
        raise InvalidPickle("the message has a type that no conplyent client knows")
    _Checker(len(data)).check(fields, 0)
    return value, request, fields


def encode(kind: object, request: bool, fields: dict[str, Any]) -> bytes:
    """Return a message as conplyent's client reads it. The values of `fields` must be `plain`."""
    head = _HEADS[kind, request]
    # Protocol 3, which every Python 3 reads. Without PROTO (2 bytes) and STOP it can stand inside another pickle.
    return head + dumps(fields, _PROTOCOL_VERSION)[2:-1] + _TAIL


def plain(value: object) -> object:
    """Return `value` if unpickling it imports nothing but builtins and datetime, else a text.

    An exception becomes a built-in one with plain arguments, because conplyent's client raises the exception that it
    unpickles.
    """
    if isinstance(value, BaseException):
        return exception(value)
    try:
        _Checker(_LONGEST_REPLY_BYTES).check(value, 0)
    except InvalidPickle:
        return value.isoformat() if type(value) is not datetime and hasattr(value, "isoformat") else str(value)
    # None would end the listener of conplyent's client.
    return "None" if value is None else value


def exception(error: BaseException) -> BaseException:
    """Return `error` as a built-in exception with plain arguments, which every client can unpickle."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    if kind in (BaseException, Exception, object):
        return RuntimeError(str(error) or type(error).__name__)
    if isinstance(error, OSError) and isinstance(error.errno, int):
        names = (error.filename,) if isinstance(error.filename, str | bytes) else ()
        # The constructor of OSError chooses the subclass that fits errno.
        return OSError(error.errno, error.strerror or "", *names)
    try:
        _Checker(_LONGEST_EXCEPTION_BYTES).check(error.args, 0)
        rebuilt: BaseException = kind(*error.args)
    except (InvalidPickle, TypeError):
        return RuntimeError(f"{kind.__name__}: {error}")
    return rebuilt


class _Checker:
    """Counts the values and bytes of a value as a tree: a shared value counts at each use.

    A few bytes can build a list that contains another one twice, and so on: it is small in memory, but walking or
    printing it takes exponential time.
    """

    def __init__(self, size: int) -> None:
        self._values = MOST_VALUES_COUNT
        self._size = 2 * size + _SMALL_MESSAGE_BYTES

    def check(self, value: object, depth: int) -> None:
        """Raise InvalidPickle unless `value` is plain and within the bounds."""
        self._values -= 1
        if depth > DEEPEST_LEVELS or self._values < 0:
            raise InvalidPickle("the message is nested too deeply or has too many values")
        if type(value) is str or type(value) is bytes or type(value) is bytearray:
            self._size -= len(value)
            if self._size < 0:
                raise InvalidPickle("the message repeats its values too often")
        elif type(value) is int:
            if value.bit_length() > _LONGEST_INTEGER_BITS:
                raise InvalidPickle("the message has a number of too many digits")
        elif type(value) is dict:
            for key, item in value.items():
                self.check(key, depth + 1)
                self.check(item, depth + 1)
        elif type(value) is list or type(value) is tuple or type(value) is set or type(value) is frozenset:
            for item in value:
                self.check(item, depth + 1)
        elif value is not None and type(value) not in (float, bool, datetime):
            raise InvalidPickle(f"a value of the message is a {type(value).__name__}")


_PROTOCOL_VERSION = 3
_TAIL = b"ub."  # SETITEMS, BUILD, STOP


def _head(number: int, *, tuple_value: bool, request: bool) -> bytes:
    """Return the beginning of a message up to its fields: PROTO, then MSG.__new__, then its state except `_kwargs`.

    It uses no memo slots, so that those of the fields, which a pickler has numbered from 0 on, stay valid.
    """
    value = b"K" + bytes((number,)) + (b"\x85" if tuple_value else b"")  # BININT1, TUPLE1
    message = f"c{MODULE}\n{MESSAGE}\n".encode() + b")\x81}("  # GLOBAL, EMPTY_TUPLE, NEWOBJ, EMPTY_DICT, MARK
    kind = b"X\x05\0\0\0_type" + f"c{MODULE}\n{MESSAGE_TYPE}\n".encode() + value + b"\x85R"  # TUPLE1, REDUCE
    direction = b"X\x08\0\0\0_request" + (b"\x88" if request else b"\x89")  # BINUNICODE, NEWTRUE or NEWFALSE
    return b"\x80" + bytes((_PROTOCOL_VERSION,)) + message + kind + direction + b"X\x07\0\0\0_kwargs"


_HEADS: dict[tuple[object, bool], bytes] = {
    **{((n,), r): _head(n, tuple_value=True, request=r) for n in _TUPLE_NUMBERS for r in (False, True)},
    **{(_SYNC, r): _head(_SYNC, tuple_value=False, request=r) for r in (False, True)},
}
