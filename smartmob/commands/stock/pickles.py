"""The pickles of the stock wire: taken apart without running anything, and written. No I/O.

A pickle is a program, so it is never given to the ordinary unpickler. First its opcodes are read and checked against
a list: nothing in them can run code, reach far memo slots or announce more than is there. Then an unpickler that
knows two stand-in classes and three plain ones builds the value, and then the value's types, depth and size are
checked.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from datetime import datetime
from typing import Any

from smartmob.errors import InvalidInput

MODULE, MESSAGE, MESSAGE_TYPE = "conplyent._msg", "MSG", "MSGType"

MOST_OPCODES = 200_000
MOST_VALUES = 50_000
DEEPEST = 32
_LONGEST_INTEGER = 256  # bits

_ALLOWED = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET"),
        *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
        *("GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD"),
    )
)
_MEMO = frozenset(("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"))
_MEMOIZE = frozenset(("BINPUT", "LONG_BINPUT", "MEMOIZE"))


class Refused(InvalidInput):
    """The message is not one that a stock client sends."""


class ForeignClass(Refused):
    """The message names a class that is not taken from the wire."""


def decode(data: bytes) -> tuple[Any, bool, dict[str, Any]]:
    """Return the type, the direction (True: asks) and the fields of a message; raises Refused.

    The type is the value of the original's enumeration: a tuple of one number, or the number 5.
    """
    _scan(data)
    try:
        message = _Unpickler(io.BytesIO(data)).load()
    except Refused:
        raise
    except Exception as error:  # an unpickler raises whatever the opcodes lead to
        raise Refused(f"the message cannot be read: {type(error).__name__}") from None
    # What NEWOBJ made has not been initialised.
    state = getattr(message, "state", None) if type(message) is _Message else None
    if type(state) is not dict or len(state) != 3:
        raise Refused("the message is not one of the stock client's")
    kind, request, fields = (state.get(name) for name in ("_type", "_request", "_kwargs"))
    if type(kind) is not _Type or not hasattr(kind, "value") or type(request) is not bool or type(fields) is not dict:
        raise Refused("the message has not the fields of the stock client's")
    _Checker(len(data)).check(fields, 0)
    if not all(type(name) is str for name in fields):
        raise Refused("a field of the message has no name")
    return kind.value, request, fields


def encode(kind: object, request: bool, fields: dict[str, Any]) -> bytes:
    """Return a message as the stock client reads it. The values of `fields` must be `plain`."""
    head = _HEADS[kind, request]
    # Protocol 3, which every Python 3 reads; without its first two bytes and its STOP it stands inside of ours.
    return head + pickle.dumps(fields, 3)[2:-1] + b"ub."


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


def _scan(data: bytes) -> None:
    """Raise Refused unless the opcodes can be run at a cost that their own length bounds."""
    source = io.BytesIO(data)
    count = memoized = 0
    largest = -1
    try:
        for opcode, argument, _ in pickletools.genops(source):
            count += 1
            name = opcode.name
            if name not in _ALLOWED:
                raise Refused(f"the message uses the opcode {name}")
            if count > MOST_OPCODES:
                raise Refused(f"the message has more than {MOST_OPCODES} opcodes")
            if name in _MEMOIZE:
                memoized += 1
            if name in _MEMO and isinstance(argument, int):
                largest = max(largest, argument)
    except Refused:
        raise
    except Exception as error:  # genops raises ValueError, UnicodeDecodeError, struct.error and others
        raise Refused(f"the message is no pickle: {type(error).__name__}") from None
    if largest > count:
        raise Refused("the message uses a memo slot beyond its own length")
    if source.tell() != len(data):
        raise Refused("something follows the message")


class _Type:
    """Stands for a member of MSGType."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __setstate__(self, state: object) -> None:
        raise Refused("a message type has no state")


class _Message:
    """Stands for MSG."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Set:
    """Stands for set."""

    def __new__(cls, items: object = ()) -> Any:
        return set(_list(items))

    def __setstate__(self, state: object) -> None:
        raise Refused("a set has no state")


class _FrozenSet(_Set):
    """Stands for frozenset."""

    def __new__(cls, items: object = ()) -> Any:
        return frozenset(_list(items))


class _ByteArray(_Set):
    """Stands for bytearray, which made from a number would take as much memory as the number says."""

    def __new__(cls, data: object = b"") -> Any:
        if type(data) is not bytes:
            raise Refused("a bytearray is made of bytes")
        return bytearray(data)


def _list(items: object) -> list[Any] | tuple[Any, ...]:
    if type(items) is not list and type(items) is not tuple:
        raise Refused("a set is made of a list")
    return items


_KNOWN: dict[tuple[str, str], Any] = {
    (MODULE, MESSAGE): _Message,
    (MODULE, MESSAGE_TYPE): _Type,
    ("builtins", "set"): _Set,
    ("builtins", "frozenset"): _FrozenSet,
    ("builtins", "bytearray"): _ByteArray,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = _KNOWN.get((module_name, global_name))
        if known is None:
            name = f"{module_name}.{global_name}"
            raise ForeignClass(f"{name[:120]} is not taken from the wire: send numbers, texts, bytes and lists of them")
        return known


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
