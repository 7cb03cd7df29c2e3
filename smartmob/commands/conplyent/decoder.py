"""The decoder of the stock wire's pickles: it builds plain values and two stand-ins, and imports nothing. No I/O.

It knows the opcodes that Python 3 writes in protocols 2 to 5 for a message of plain values, and no others. Whatever a
message says, the cost is linear in its length: keys of dictionaries are texts, items of sets are single values whose
hash a sender cannot choose, a repeated key ends the message, and what copies a value is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from smartmob.errors import InvalidInput

MODULE, MESSAGE, MESSAGE_TYPE = "conplyent._msg", "MSG", "MSGType"

MOST_OPCODES = 120_000
MOST_VALUES = 50_000
_LONGEST_INTEGER = 32  # bytes
_LARGEST_ITEM = 2**60
"""Larger numbers can be chosen so that all have one hash."""
_LONGEST_NAME = 120
_NEWEST_PROTOCOL = 5

_SIZE4, _SIZE8 = struct.Struct("<I"), struct.Struct("<Q")
_INT4, _FLOAT = struct.Struct("<i"), struct.Struct(">d")


class Refused(InvalidInput):
    """The message is not one that a stock client sends."""


class NotTaken(Refused):
    """The message is one of an honest client, with a value that is not taken from the wire."""


class ForeignClass(NotTaken):
    """The message names a class that is not taken from the wire."""


class Type:
    """Stands for a member of MSGType."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Message:
    """Stands for MSG."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None


class _Global:
    """Stands for a class or function that was named."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_MESSAGE, _TYPE = _Global(MESSAGE), _Global(MESSAGE_TYPE)
_SET, _FROZENSET, _BYTEARRAY, _BYTES, _ENCODE = map(_Global, ("set", "frozenset", "bytearray", "bytes", "encode"))
_KNOWN = {
    (MODULE, MESSAGE): _MESSAGE,
    (MODULE, MESSAGE_TYPE): _TYPE,
    # Protocol 2 has the names of Python 2, and bytes as texts.
    **{(module, "set"): _SET for module in ("builtins", "__builtin__")},
    **{(module, "frozenset"): _FROZENSET for module in ("builtins", "__builtin__")},
    **{(module, "bytearray"): _BYTEARRAY for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _BYTES for module in ("builtins", "__builtin__")},
    ("_codecs", "encode"): _ENCODE,
}


class Decoder:
    """Decodes one pickle by `decode`, once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._frame_end = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._copies = MOST_VALUES
        self._copied_bytes = 2 * len(data) + 4096

    def decode(self) -> Any:
        """Return the value; raises Refused."""
        data, count, stop = self._data, 0, b"."[0]
        if data[:1] != b"\x80":
            raise Refused("the message is no pickle of protocol 2 or newer")
        while True:
            count += 1
            if self._place >= len(data):
                raise Refused("the message is cut off")
            if count > MOST_OPCODES:
                raise Refused(f"the message has more than {MOST_OPCODES} opcodes")
            if self._frame_end and self._place >= self._frame_end:
                self._frame_end = 0
            code = data[self._place]
            self._place += 1
            if code == stop:
                break
            handle = _HANDLERS.get(code)
            if handle is None:
                raise Refused(f"the message uses the opcode {code:#04x}")
            try:
                handle(self)
            except NotTaken as error:
                # Of an honest client the message itself begins first.
                if not self._stack or type(self._stack[0]) is not Message:
                    raise Refused(str(error)) from None
                raise
        if self._place != len(data) or (self._frame_end and self._place != self._frame_end):
            raise Refused("something follows the message")
        if len(self._stack) != 1 or self._marks:
            raise Refused("the message is not one value")
        return self._stack[0]

    # -- arguments ----------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        """Return the next bytes, which must be there and in the same frame."""
        start, end = self._place, self._place + size
        if end > (self._frame_end or len(self._data)):
            raise Refused("the message is cut off, or a length in it is wrong")
        self._place = end
        return self._data[start:end]

    def _size(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> str:
        end = self._data.find(b"\n", self._place, self._place + _LONGEST_NAME)
        if end < 0:
            raise Refused("a name in the message is too long or not ended")
        return self._take(end + 1 - self._place)[:-1].decode("ascii", "replace")

    # -- the stack ----------------------------------------------------------------------------------------------

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Refused("the message takes a value that is not there")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0) or type(self._stack[-1]) is not kind:
            raise Refused(f"the message fills a {kind.__name__} that is not there")
        return self._stack[-1]

    def _marked(self) -> list[Any]:
        if not self._marks:
            raise Refused("the message has no mark where it needs one")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    # -- what the opcodes do ------------------------------------------------------------------------------------

    def _protocol(self) -> None:
        if self._place != 1 or not 2 <= self._size(1) <= _NEWEST_PROTOCOL:
            raise Refused(f"the message is no pickle of the protocols 2 to {_NEWEST_PROTOCOL}")

    def _frame(self) -> None:
        size = self._size(8)
        if self._frame_end or not 0 < size <= len(self._data) - self._place:
            raise Refused("a frame in the message has a wrong length")
        self._frame_end = self._place + size

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _integer(self, width: int) -> None:
        size = self._size(width)
        if size > _LONGEST_INTEGER + 1:
            raise Refused("the message has a number of too many digits")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    def _text(self, width: int) -> None:
        try:
            self._push(self._take(self._size(width)).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise Refused("a text in the message is not UTF-8") from None

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
        # Whoever writes a pickle numbers what it keeps from 0 on.
        if not self._stack or index > len(self._memo):
            raise Refused("the message uses a memo slot beyond its own length")
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise Refused("the message uses a memo slot in which nothing is")
        self._push(self._memo[index])

    def _named(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise Refused("the message names a class without a text")
        known = _KNOWN.get((module, name))
        if known is None:
            full = f"{module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}"[:_LONGEST_NAME]
            raise ForeignClass(f"{full} is not taken from the wire: send numbers, texts, bytes and lists of them")
        self._push(known)

    def _global(self) -> None:
        module = self._line()
        self._named(module, self._line())

    def _stack_global(self) -> None:
        name = self._pop()
        self._named(self._pop(), name)

    def _new(self) -> None:
        if self._pop() != () or self._pop() is not _MESSAGE:
            raise Refused("the message makes something else than a message")
        self._push(Message())

    def _build(self) -> None:
        state = self._pop()
        message = self._top(Message)
        if type(state) is not dict or message.state is not None:
            raise Refused("the message is filled with something else than its fields")
        message.state = state

    def _reduce(self) -> None:
        given, named = self._pop(), self._pop()
        if type(given) is not tuple or type(named) is not _Global:
            raise Refused("the message calls something that cannot be called")
        if named is _TYPE and len(given) == 1:
            self._push(Type(given[0]))
        elif named in (_SET, _FROZENSET) and len(given) <= 1:
            items = given[0] if given else []
            if type(items) is not list:
                raise Refused("a set is made of a list")
            self._copies -= len(items)
            if self._copies < 0:
                raise Refused("the message repeats its values too often")
            made = _fill_set(set(), items)
            self._push(made if named is _SET else frozenset(made))
        elif named in (_BYTEARRAY, _BYTES, _ENCODE):
            data = self._data_of(named, given)
            self._push(bytearray(data) if named is _BYTEARRAY else data)
        else:
            raise Refused(f"the message calls {named.name} in another way than a stock client")

    def _data_of(self, named: _Global, given: tuple[Any, ...]) -> bytes:
        """Return the bytes that a call means: of bytes, or in protocol 2 of a text that stands for them."""
        if not given:
            return b""
        source = given[0]
        # As many as a number says would take as much memory as the number says.
        if type(source) is bytes and len(given) == 1 and named is _BYTEARRAY:
            self._count(len(source))
            return source
        latin = len(given) == 2 and type(given[1]) is str and given[1] in ("latin1", "latin-1")
        if type(source) is str and latin and named is not _BYTES:
            self._count(len(source))
            try:
                return source.encode("latin-1")
            except UnicodeEncodeError:
                pass
        raise Refused(f"the message calls {named.name} in another way than a stock client")

    def _count(self, size: int) -> None:
        self._copied_bytes -= size
        if self._copied_bytes < 0:
            raise Refused("the message repeats its values too often")


def _fill_dictionary(target: dict[str, Any], items: list[Any]) -> None:
    """Add keys and values in turn; raises NotTaken for a key that is no text, Refused for one that is repeated."""
    if len(items) % 2:
        raise Refused("a dictionary in the message has a key without a value")
    for place in range(0, len(items), 2):
        key = items[place]
        if type(key) is not str:
            raise NotTaken(f"a dictionary with a {type(key).__name__} as key is not taken from the wire: use texts")
        # Long equal texts cost much to compare; of an honest client's dictionary no key comes twice.
        if key in target:
            raise Refused("a dictionary in the message has a key twice")
        target[key] = items[place + 1]


def _fill_set(target: set[Any], items: list[Any]) -> set[Any]:
    """Add items and return the set; raises NotTaken for what is no single value, Refused for one that is repeated."""
    for item in items:
        kind = type(item)
        if kind is int and not -_LARGEST_ITEM < item < _LARGEST_ITEM:
            raise NotTaken("a set with a number of more than 60 bits is not taken from the wire: send a list")
        if kind not in (str, bytes, int, float, bool) and item is not None:
            raise NotTaken(f"a set with a {kind.__name__} in it is not taken from the wire: send a list")
        if item in target:
            raise Refused("a set in the message has a value twice")
        target.add(item)
    return target


_HANDLERS: dict[int, Callable[[Decoder], object]] = {
    ord(code): handle
    for code, handle in {
        b"\x80": Decoder._protocol,
        b"\x95": Decoder._frame,
        b"(": Decoder._mark,
        b"N": lambda of: of._push(None),
        b"\x88": lambda of: of._push(True),
        b"\x89": lambda of: of._push(False),
        b"J": lambda of: of._push(_INT4.unpack(of._take(4))[0]),
        b"K": lambda of: of._push(of._size(1)),
        b"M": lambda of: of._push(of._size(2)),
        b"\x8a": lambda of: of._integer(1),
        b"\x8b": lambda of: of._integer(4),
        b"G": lambda of: of._push(_FLOAT.unpack(of._take(8))[0]),
        b"\x8c": lambda of: of._text(1),
        b"X": lambda of: of._text(4),
        b"\x8d": lambda of: of._text(8),
        b"C": lambda of: of._push(of._take(of._size(1))),
        b"B": lambda of: of._push(of._take(of._size(4))),
        b"\x8e": lambda of: of._push(of._take(of._size(8))),
        b"\x96": lambda of: of._push(bytearray(of._take(of._size(8)))),
        b"]": lambda of: of._push([]),
        b"}": lambda of: of._push({}),
        b"\x8f": lambda of: of._push(set()),
        b")": lambda of: of._push(()),
        b"\x85": lambda of: of._tuple(1),
        b"\x86": lambda of: of._tuple(2),
        b"\x87": lambda of: of._tuple(3),
        b"t": lambda of: of._push(tuple(of._marked())),
        b"a": Decoder._append,
        b"e": Decoder._appends,
        b"s": Decoder._set_item,
        b"u": Decoder._set_items,
        b"d": Decoder._dictionary,
        b"\x90": Decoder._add_items,
        b"\x91": Decoder._frozen_set,
        b"\x94": Decoder._memoize,
        b"q": lambda of: of._put(of._size(1)),
        b"r": lambda of: of._put(of._size(4)),
        b"h": lambda of: of._get(of._size(1)),
        b"j": lambda of: of._get(of._size(4)),
        b"c": Decoder._global,
        b"\x93": Decoder._stack_global,
        b"\x81": Decoder._new,
        b"R": Decoder._reduce,
        b"b": Decoder._build,
    }.items()
}
