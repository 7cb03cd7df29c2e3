"""Decodes the pickles of conplyent's clients without an unpickler. No I/O.

The decoder builds plain values and stand-ins for two classes, and imports nothing. It knows only the opcodes that
Python 3 writes for a message of plain values in the protocols 2 to 5. Opcodes, their arguments and the stack machine
are defined in PEP 307 (protocol 2), PEP 3154 (protocol 4), PEP 574 (protocol 5), and in the comments of
Lib/pickletools.py, which is the only source for protocol 3.

The cost is linear in the length of a message, whatever it contains: keys of dictionaries are texts, items of sets are
single values whose hash a sender cannot choose, a repeated key ends the message, and copies of values are counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from smartmob.errors import InvalidInput

# The classes of conplyent's messages (conplyent 0.2.17, `conplyent/_msg.py`).
MODULE = "conplyent._msg"
MESSAGE = "MSG"
MESSAGE_TYPE = "MSGType"

MOST_OPCODES_COUNT = 120_000
MOST_VALUES_COUNT = 50_000
"""The most values that a message may have, and the most that it may copy into sets."""
_LONGEST_INTEGER_BYTES = 32
_LARGEST_SET_ITEM = 2**60
"""The limit of numbers in sets. CPython hashes an int modulo 2**61 - 1, so larger ones could all have one hash."""
_LONGEST_NAME_CHARACTERS = 120
_NEWEST_PROTOCOL_VERSION = 5
_SMALL_COPIES_BYTES = 4096
"""Bytes that even the shortest message may copy."""

_SIZE4, _SIZE8 = struct.Struct("<I"), struct.Struct("<Q")
_INT4, _FLOAT = struct.Struct("<i"), struct.Struct(">d")


class InvalidPickle(InvalidInput):
    """The bytes are not a message of a conplyent client."""


class UnsupportedValue(InvalidPickle):
    """The message is one of an honest client, with a value that the gateway does not accept."""


class UnsupportedClass(UnsupportedValue):
    """The message names a class that the gateway does not accept."""


MEMBERS = {
    "ACKNOWLEDGE": (0,), "HEARTBEAT": (1,), "COMMAND": (2,), "DETAILS": (3,), "COMPLETE": (4,), "SYNC": 5,
}  # fmt: skip
"""The members of MSGType by their names (conplyent 0.2.17, `conplyent/_msg.py`): 1-tuples, except SYNC."""


class TypeStandIn:
    """A member of conplyent's enumeration MSGType, with its value."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class MessageStandIn:
    """An instance of conplyent's class MSG, with its attributes in `state`."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None


class _Global:
    """A class or function that a message names."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_MESSAGE, _TYPE = _Global(MESSAGE), _Global(MESSAGE_TYPE)
_MEMBER = _Global("getattr")
_SET, _FROZENSET, _BYTEARRAY, _BYTES, _ENCODE = map(_Global, ("set", "frozenset", "bytearray", "bytes", "encode"))
_KNOWN = {
    (MODULE, MESSAGE): _MESSAGE,
    (MODULE, MESSAGE_TYPE): _TYPE,
    # Python 3.11.0 to 3.11.3 write a member of an enumeration as the attribute of its class.
    **{(module, "getattr"): _MEMBER for module in ("builtins", "__builtin__")},
    # Protocol 2 names the modules of Python 2, and writes bytes as a call of _codecs.encode with a text.
    **{(module, "set"): _SET for module in ("builtins", "__builtin__")},
    **{(module, "frozenset"): _FROZENSET for module in ("builtins", "__builtin__")},
    **{(module, "bytearray"): _BYTEARRAY for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _BYTES for module in ("builtins", "__builtin__")},
    ("_codecs", "encode"): _ENCODE,
}


def _member(enumeration: object = None, name: object = None, *others: object) -> TypeStandIn:
    if enumeration is not _TYPE or type(name) is not str or name not in MEMBERS or others:
        raise InvalidPickle("the message asks for an attribute that is no type of a message")
    return TypeStandIn(MEMBERS[name])


class Decoder:
    """The stack machine for one pickle. `decode` may be called once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._frame_end = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._copies = MOST_VALUES_COUNT
        self._copied_bytes = 2 * len(data) + _SMALL_COPIES_BYTES

    def decode(self) -> Any:
        """Return the value of the pickle; raises InvalidPickle."""
        data, count = self._data, 0
        if data[:1] != _PROTO:
            raise InvalidPickle("the message is no pickle of protocol 2 or newer")
        while True:
            count += 1
            if self._position >= len(data):
                raise InvalidPickle("the message is cut off")
            if count > MOST_OPCODES_COUNT:
                raise InvalidPickle(f"the message has more than {MOST_OPCODES_COUNT} opcodes")
            if self._frame_end and self._position >= self._frame_end:
                self._frame_end = 0
            code = data[self._position]
            self._position += 1
            if code == _STOP:
                break
            handle = _HANDLERS.get(code)
            if handle is None:
                raise InvalidPickle(f"the message uses the opcode {code:#04x}")
            try:
                handle(self)
            except UnsupportedValue as error:
                # The pickle of an honest client begins with the message itself.
                if not self._stack or type(self._stack[0]) is not MessageStandIn:
                    raise InvalidPickle(str(error)) from None
                raise
        if self._position != len(data) or (self._frame_end and self._position != self._frame_end):
            raise InvalidPickle("something follows the message")
        if len(self._stack) != 1 or self._marks:
            raise InvalidPickle("the message is not one value")
        return self._stack[0]

    # -- arguments of opcodes -----------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        """Return the next bytes; raises InvalidPickle when the message or its frame ends too early."""
        start, end = self._position, self._position + size
        if end > (self._frame_end or len(self._data)):
            raise InvalidPickle("the message is cut off, or a length in it is wrong")
        self._position = end
        return self._data[start:end]

    def _size(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> str:
        end = self._data.find(b"\n", self._position, self._position + _LONGEST_NAME_CHARACTERS)
        if end < 0:
            raise InvalidPickle("a name in the message is too long or not ended")
        return self._take(end + 1 - self._position)[:-1].decode("ascii", "replace")

    # -- the stack ----------------------------------------------------------------------------------------------

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise InvalidPickle("the message takes a value from an empty stack")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0) or type(self._stack[-1]) is not kind:
            raise InvalidPickle(f"the message fills a {kind.__name__} that is not on top of the stack")
        return self._stack[-1]

    def _marked(self) -> list[Any]:
        if not self._marks:
            raise InvalidPickle("the message has no mark where it needs one")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    # -- opcodes ------------------------------------------------------------------------------------------------

    def _protocol(self) -> None:
        if self._position != 1 or not 2 <= self._size(1) <= _NEWEST_PROTOCOL_VERSION:
            raise InvalidPickle(f"the message is no pickle of the protocols 2 to {_NEWEST_PROTOCOL_VERSION}")

    def _frame(self) -> None:
        size = self._size(8)
        if self._frame_end or not 0 < size <= len(self._data) - self._position:
            raise InvalidPickle("a frame in the message has a wrong length")
        self._frame_end = self._position + size

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _integer(self, width: int) -> None:
        size = self._size(width)
        if size > _LONGEST_INTEGER_BYTES + 1:
            raise InvalidPickle("the message has a number of too many digits")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    def _text(self, width: int) -> None:
        try:
            self._push(self._take(self._size(width)).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise InvalidPickle("a text in the message is not UTF-8") from None

    def _tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self._push(tuple(reversed(items)))

    def _append(self) -> None:
        item = self._pop()
        self._top(list).append(item)

    def _appends(self) -> None:
        items = self._marked()
        self._top(list).extend(items)

    def _set_item(self) -> None:
        item, key = self._pop(), self._pop()
        _fill_dictionary(self._top(dict), [key, item])

    def _set_items(self) -> None:
        items = self._marked()
        _fill_dictionary(self._top(dict), items)

    def _dictionary(self) -> None:
        found: dict[str, Any] = {}
        _fill_dictionary(found, self._marked())
        self._push(found)

    def _add_items(self) -> None:
        items = self._marked()
        _fill_set(self._top(set), items)

    def _frozen_set(self) -> None:
        self._push(frozenset(_fill_set(set(), self._marked())))

    def _memoize(self) -> None:
        self._put(len(self._memo))

    def _put(self, index: int) -> None:
        # A pickler numbers memo slots from 0 on, see the comment on `memo` in pickletools.
        if not self._stack or index > len(self._memo):
            raise InvalidPickle("the message uses a memo slot beyond its own length")
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise InvalidPickle("the message uses a memo slot in which nothing is")
        self._push(self._memo[index])

    def _named(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise InvalidPickle("the message names a class without a text")
        known = _KNOWN.get((module, name))
        if known is None:
            full = f"{module[:_LONGEST_NAME_CHARACTERS]}.{name[:_LONGEST_NAME_CHARACTERS]}"[:_LONGEST_NAME_CHARACTERS]
            raise UnsupportedClass(f"{full} is not taken from the wire: send numbers, texts, bytes and lists of them")
        self._push(known)

    def _global(self) -> None:
        module = self._line()
        self._named(module, self._line())

    def _stack_global(self) -> None:
        name = self._pop()
        self._named(self._pop(), name)

    def _new(self) -> None:
        if self._pop() != () or self._pop() is not _MESSAGE:
            raise InvalidPickle("the message makes something else than a message")
        self._push(MessageStandIn())

    def _build(self) -> None:
        state = self._pop()
        message = self._top(MessageStandIn)
        if type(state) is not dict or message.state is not None:
            raise InvalidPickle("the message is filled with something else than its fields")
        message.state = state

    def _set_of(self, arguments: tuple[Any, ...]) -> set[Any]:
        items = arguments[0] if arguments else []
        if type(items) is not list:
            raise InvalidPickle("a set is made of a list")
        self._copies -= len(items)
        if self._copies < 0:
            raise InvalidPickle("the message repeats its values too often")
        return _fill_set(set(), items)

    def _reduce(self) -> None:
        arguments, named = self._pop(), self._pop()
        if type(arguments) is not tuple or type(named) is not _Global:
            raise InvalidPickle("the message calls something that cannot be called")
        if named is _TYPE and len(arguments) == 1:
            self._push(TypeStandIn(arguments[0]))
        elif named is _MEMBER:
            self._push(_member(*arguments))
        elif named in (_SET, _FROZENSET) and len(arguments) <= 1:
            made = self._set_of(arguments)
            self._push(made if named is _SET else frozenset(made))
        elif named in (_BYTEARRAY, _BYTES, _ENCODE):
            data = self._bytes_of(named, arguments)
            self._push(bytearray(data) if named is _BYTEARRAY else data)
        else:
            raise InvalidPickle(f"the message calls {named.name} in another way than a conplyent client")

    def _bytes_of(self, named: _Global, arguments: tuple[Any, ...]) -> bytes:
        """Return the bytes that a call creates: from bytes, or in protocol 2 from a text in Latin-1."""
        if not arguments:
            return b""
        source = arguments[0]
        # A number as the argument is refused: bytearray(n) allocates n bytes of memory.
        if type(source) is bytes and len(arguments) == 1 and named is _BYTEARRAY:
            self._count_copied(len(source))
            return source
        latin = len(arguments) == 2 and type(arguments[1]) is str and arguments[1] in ("latin1", "latin-1")
        if type(source) is str and latin and named is not _BYTES:
            self._count_copied(len(source))
            try:
                return source.encode("latin-1")
            except UnicodeEncodeError:
                pass
        raise InvalidPickle(f"the message calls {named.name} in another way than a conplyent client")

    def _count_copied(self, size: int) -> None:
        self._copied_bytes -= size
        if self._copied_bytes < 0:
            raise InvalidPickle("the message repeats its values too often")


def _fill_dictionary(target: dict[str, Any], items: list[Any]) -> None:
    """Add alternating keys and values. Raises UnsupportedValue for keys other than texts, InvalidPickle for repeats."""
    if len(items) % 2:
        raise InvalidPickle("a dictionary in the message has a key without a value")
    for index in range(0, len(items), 2):
        key = items[index]
        if type(key) is not str:
            raise UnsupportedValue(
                f"a dictionary with a {type(key).__name__} as key is not taken from the wire: use texts"
            )
        # Comparing equal long texts is expensive, and a dictionary of an honest client has no key twice.
        if key in target:
            raise InvalidPickle("a dictionary in the message has a key twice")
        target[key] = items[index + 1]


def _fill_set(target: set[Any], items: list[Any]) -> set[Any]:
    """Add items and return the set. Raises UnsupportedValue for containers, InvalidPickle for a repeat."""
    for item in items:
        kind = type(item)
        if kind is int and not -_LARGEST_SET_ITEM < item < _LARGEST_SET_ITEM:
            raise UnsupportedValue("a set with a number of more than 60 bits is not taken from the wire: send a list")
        if kind not in (str, bytes, int, float, bool) and item is not None:
            raise UnsupportedValue(f"a set with a {kind.__name__} in it is not taken from the wire: send a list")
        if item in target:
            raise InvalidPickle("a set in the message has a value twice")
        target.add(item)
    return target


_PROTO = b"\x80"
_STOP = b"."[0]

# The names after the opcodes are those of pickletools, where each is described.
_HANDLERS: dict[int, Callable[[Decoder], object]] = {
    ord(code): handle
    for code, handle in {
        _PROTO: Decoder._protocol,  # PROTO
        b"\x95": Decoder._frame,  # FRAME
        b"(": Decoder._mark,  # MARK
        b"N": lambda of: of._push(None),  # NONE
        b"\x88": lambda of: of._push(True),  # NEWTRUE
        b"\x89": lambda of: of._push(False),  # NEWFALSE
        b"J": lambda of: of._push(_INT4.unpack(of._take(4))[0]),  # BININT
        b"K": lambda of: of._push(of._size(1)),  # BININT1
        b"M": lambda of: of._push(of._size(2)),  # BININT2
        b"\x8a": lambda of: of._integer(1),  # LONG1
        b"\x8b": lambda of: of._integer(4),  # LONG4
        b"G": lambda of: of._push(_FLOAT.unpack(of._take(8))[0]),  # BINFLOAT
        b"\x8c": lambda of: of._text(1),  # SHORT_BINUNICODE
        b"X": lambda of: of._text(4),  # BINUNICODE
        b"\x8d": lambda of: of._text(8),  # BINUNICODE8
        b"C": lambda of: of._push(of._take(of._size(1))),  # SHORT_BINBYTES
        b"B": lambda of: of._push(of._take(of._size(4))),  # BINBYTES
        b"\x8e": lambda of: of._push(of._take(of._size(8))),  # BINBYTES8
        b"\x96": lambda of: of._push(bytearray(of._take(of._size(8)))),  # BYTEARRAY8
        b"]": lambda of: of._push([]),  # EMPTY_LIST
        b"}": lambda of: of._push({}),  # EMPTY_DICT
        b"\x8f": lambda of: of._push(set()),  # EMPTY_SET
        b")": lambda of: of._push(()),  # EMPTY_TUPLE
        b"\x85": lambda of: of._tuple(1),  # TUPLE1
        b"\x86": lambda of: of._tuple(2),  # TUPLE2
        b"\x87": lambda of: of._tuple(3),  # TUPLE3
        b"t": lambda of: of._push(tuple(of._marked())),  # TUPLE
        b"a": Decoder._append,  # APPEND
        b"e": Decoder._appends,  # APPENDS
        b"s": Decoder._set_item,  # SETITEM
        b"u": Decoder._set_items,  # SETITEMS
        b"d": Decoder._dictionary,  # DICT
        b"\x90": Decoder._add_items,  # ADDITEMS
        b"\x91": Decoder._frozen_set,  # FROZENSET
        b"\x94": Decoder._memoize,  # MEMOIZE
        b"q": lambda of: of._put(of._size(1)),  # BINPUT
        b"r": lambda of: of._put(of._size(4)),  # LONG_BINPUT
        b"h": lambda of: of._get(of._size(1)),  # BINGET
        b"j": lambda of: of._get(of._size(4)),  # LONG_BINGET
        b"c": Decoder._global,  # GLOBAL
        b"\x93": Decoder._stack_global,  # STACK_GLOBAL
        b"\x81": Decoder._new,  # NEWOBJ
        b"R": Decoder._reduce,  # REDUCE
        b"b": Decoder._build,  # BUILD
    }.items()
}
