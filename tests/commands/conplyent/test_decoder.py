"""The decoder of pickles: honest values are decoded as by Python, and the cost of all others is linear."""

from __future__ import annotations

import contextlib
import pickle
import sys
import tracemalloc
from enum import Enum
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.commands.conplyent import pickles
from smartmob.commands.conplyent.decoder import MODULE, MOST_OPCODES_COUNT, Decoder, InvalidPickle, UnsupportedValue

SINGLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**59), 2**59)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SINGLE
    | st.integers(-(2**200), 2**200)
    | st.binary(max_size=300)
    | st.binary(max_size=300).map(bytearray)
    | st.sets(SINGLE, max_size=4)
    | st.frozensets(SINGLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | inner.map(lambda value: [value, value])
    ),
    max_leaves=12,
)
CONTENT = b"\x80\x04cconplyent._msg\nMSG\n)\x81}"
"""The beginning of a message, behind which its fields would come."""


def _types(value: Any) -> Any:
    """Return a value with the types of everything in it, because `==` does not compare types."""
    if type(value) is dict:
        return {key: _types(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value), [_types(item) for item in value]
    if type(value) in (set, frozenset):
        return type(value), {(type(item), item) for item in value}
    return type(value), value


@given(VALUES, st.sampled_from([2, 3, 4, 5]))
def test_values_are_decoded_as_by_the_ordinary_unpickler(value: Any, protocol: int) -> None:
    """This holds for plain values in each protocol."""
    data = pickle.dumps(value, protocol)
    assert _types(Decoder(data).decode()) == _types(pickle.loads(data))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        "x" * 70_000,
        "\ud800 half",
        b"y" * 100_000,
        bytearray(b"z" * 100_000),
        [b"a" * 70_000, "b" * 70_000, 1],
        [str(number) for number in range(5_000)],
        {str(number): number for number in range(5_000)},
        tuple(range(3_000)),
        set(range(3_000)),
        [[]] * 500,
        -(2**255),
        [2**31, -(2**31), 2**31 - 1, 255, 256, 65_535, 65_536],
    ],
)
def test_large_values_arrive_unchanged(value: Any, protocol: int) -> None:
    """They cross frames, batches and the widths of numbers."""
    assert _types(Decoder(pickle.dumps(value, protocol)).decode()) == _types(value)


class MSGType(Enum):
    """The values of conplyent's enumeration that the tests send."""

    COMMAND = (2,)


class MSG:
    """A message with the attributes of conplyent's class."""

    def __init__(self, fields: Any) -> None:
        self._type = MSGType.COMMAND
        self._request = True
        self._kwargs = fields


@pytest.fixture(name="original")
def _original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the two classes importable by the names that conplyent's client uses."""
    module = ModuleType(MODULE)
    for kind in (MSG, MSGType):
        monkeypatch.setattr(kind, "__module__", MODULE)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "conplyent", ModuleType("conplyent"))
    monkeypatch.setitem(sys.modules, MODULE, module)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.usefixtures("original")
def test_messages_are_decoded_in_each_protocol(protocol: int) -> None:
    """A command of a client arrives unchanged."""
    fields = {"cmd_id": "exec", "args": (["a"], b"\xff\0", {1, 2}), "keywargs": {"env": {"A": "b"}}}
    assert pickles.decode(pickle.dumps(MSG(fields), protocol)) == ((2,), True, fields)


@pytest.mark.parametrize("value", [{1: "x"}, {(1, 2): 3}, {(1, 2)}, {frozenset()}, {2**70}, {b"k": 1}, {None: 1}])
@pytest.mark.usefixtures("original")
def test_an_honest_client_gets_another_error_than_a_hostile_one(value: Any) -> None:
    """A key that is no text raises UnsupportedValue, which is answered."""
    with pytest.raises(UnsupportedValue, match="is not taken from the wire"):
        pickles.decode(pickle.dumps(MSG({"args": (value,)}), 4))


def _nested_tuples(levels: int) -> bytes:
    """Return a tuple that contains the one below it twice, in four bytes for each level."""
    level = b"".join(b"q" + bytes((n,)) + b"h" + bytes((n,)) + b"\x86" for n in range(levels))
    return b"K\x01" + level


def _repeated(text: bytes, times: int) -> bytes:
    """Return a dictionary to which two equal long keys are added in turn."""
    both = b"".join(b"X" + len(text).to_bytes(4, "little") + text + b"q" + bytes((n,)) for n in range(2))
    return both + b"}" + b"h\x00K\x01sh\x01K\x01s" * times


HOSTILE = {
    "a key of nested tuples": b"}" + _nested_tuples(60) + b"K\x01s",
    "a set of nested tuples": b"\x8f(" + _nested_tuples(60) + b"\x90",
    "a frozen set of nested tuples": b"(" + _nested_tuples(60) + b"\x91",
    "a called set of nested tuples": b"cbuiltins\nset\n](" + _nested_tuples(60) + b"e\x85R",
    "numbers of one hash": b"\x8f("
    + b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") for n in range(1, 50_000))
    + b"\x90",
    "long equal keys": _repeated(b"k" * 8_000_000, 19_000),
    "a list made a set again and again": b"cbuiltins\nset\nq\x00]q\x01("
    + b"".join(b"M" + n.to_bytes(2, "little") for n in range(20_000))
    + b"e"
    + b"h\x00h\x01\x85R" * 20_000,
    "bytes copied again and again": b"cbuiltins\nbytearray\nq\x00B"
    + (1_000_000).to_bytes(4, "little")
    + b"x" * 1_000_000
    + b"q\x01"
    + b"h\x00h\x01\x85R" * 20_000,
    "a number of 16 MB": b"\x8b" + (16_000_000).to_bytes(4, "little") + b"\x7f" * 16_000_000,
    "a negative length": b"\x8b\xff\xff\xff\xff",
    "a far memo slot": b"Nr\xff\xff\xff\x7f",
    "a frame that is too long": b"\x95" + b"\xff" * 7 + b"\x7f",
    "a frame of nothing": b"\x95" + b"\0" * 8,
    "a frame in a frame": b"\x95" + (12).to_bytes(8, "little") + b"\x95" + (2).to_bytes(8, "little") + b"NNN",
    "a text beyond its frame": b"\x95" + (3).to_bytes(8, "little") + b"\x8c\x05aaaaa",
    "no value": b"",
    "a mark that is not used": b"(",
    "a value below a mark": b"]((\x85",
    "a memo slot of nothing": b"h\x05",
    "a line without end": b"c" + b"a" * 1_000_000,
    "an opcode of old protocols": b"I5\n",
    "another protocol inside": b"\x80\x04N",
    "a hundred thousand marks": b"(" * 100_000,
    "two hundred thousand values": b"N" * 200_000,
}


REASONS = {
    "a key of nested tuples": "a tuple as key",
    "a set of nested tuples": "a tuple in it",
    "a frozen set of nested tuples": "a tuple in it",
    "a called set of nested tuples": "a tuple in it",
    "numbers of one hash": "more than 60 bits",
    "long equal keys": "a key twice",
    "a list made a set again and again": "repeats its values too often",
    "bytes copied again and again": "repeats its values too often",
    "a number of 16 MB": "too many digits",
    "a negative length": "too many digits",
    "a far memo slot": "beyond its own length",
    "a frame that is too long": "wrong length",
    "a frame of nothing": "wrong length",
    "a frame in a frame": "wrong length",
    "a text beyond its frame": "cut off",
    "no value": "not one value",
    "a mark that is not used": "not one value",
    "a value below a mark": "an empty stack",
    "a memo slot of nothing": "in which nothing is",
    "a line without end": "too long or not ended",
    "an opcode of old protocols": "opcode 0x49",
    "another protocol inside": "no pickle",
    "a hundred thousand marks": "not one value",
    "two hundred thousand values": "opcodes",
}
"""The rule by which each is refused: one that comes before any work that would grow faster than the message."""


@pytest.mark.parametrize("before", [b"\x80\x04", CONTENT])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_messages_are_refused_at_linear_cost(name: str, before: bytes) -> None:
    """Each is refused by its own rule, and memory is bounded by the length of the message."""
    data = before + HOSTILE[name] + b"."
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPickle, match=REASONS[name]):
            Decoder(data).decode()
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data) + 16_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("kind", [list, tuple])
def test_shared_values_are_counted_where_they_are_used(kind: type) -> None:
    """A value that doubles with each level when it is walked is refused; the walk would never end."""
    value: Any = kind(["x"])
    for _ in range(40):
        value = kind([value, value])
    with pytest.raises(InvalidPickle, match=r"repeats its values too often|too many values"):
        pickles.decode(pickle.dumps(MSG({"args": (value,)}), 4))


def test_a_list_that_contains_itself_is_refused() -> None:
    """Its depth has no end."""
    data = b"\x80\x03cconplyent._msg\nMSG\n)\x81}(X\x05\0\0\0_typecconplyent._msg\nMSGType\nK\x02\x85\x85R"
    data += b"X\x08\0\0\0_request\x88X\x07\0\0\0_kwargs}X\x04\0\0\0args]q\x00h\x00asub."
    with pytest.raises(InvalidPickle, match="nested too deeply"):
        pickles.decode(data)


def test_opcodes_are_counted() -> None:
    """A long message of cheap opcodes is refused before all of them are read."""
    with pytest.raises(InvalidPickle, match="opcodes"):
        Decoder(b"\x80\x04" + b"N" * MOST_OPCODES_COUNT + b".").decode()


@given(VALUES, st.data())
def test_cut_off_messages_are_refused(value: Any, draw: Any) -> None:
    """The beginning of a pickle is refused wherever it ends."""
    data = pickle.dumps(value, draw.draw(st.sampled_from([2, 3, 4, 5])))
    with pytest.raises(InvalidPickle):
        Decoder(data[: draw.draw(st.integers(0, len(data) - 1))]).decode()


OPCODES = [
    bytes((code,)) for code in b"\x80\x95(N\x88\x89JKM\x8a\x8bGX]}\x8f)\x85\x86\x87taesud\x90\x91\x94qrhjc\x93\x81Rb"
]
PARTS = [b"\0", b"\1", b"\2", b"X\1\0\0\0a", b"K\1", b"cbuiltins\nset\n"]


@given(st.lists(st.sampled_from(OPCODES + PARTS), max_size=60))
def test_any_opcodes_raise_only_invalid_pickle(opcodes: list[bytes]) -> None:
    """Any sequence of opcodes is decoded or refused."""
    for before in (b"\x80\x04", CONTENT):
        with contextlib.suppress(InvalidPickle):
            Decoder(before + b"".join(opcodes)).decode()
