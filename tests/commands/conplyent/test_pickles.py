"""The pickles of conplyent's wire: those of real clients are read, all others are refused at a bounded cost."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import sys
import tracemalloc
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartmob.commands.conplyent import pickles
from smartmob.commands.conplyent.decoder import MODULE, InvalidPickle, UnsupportedClass
from smartmob.errors import InvalidInput


class MSGType(Enum):
    """The values of conplyent's enumeration."""

    ACKNOWLEDGE = (0,)
    COMMAND = (2,)
    SYNC = 5


class MSG:
    """A message with the attributes of conplyent's class."""

    def __init__(self, kind: Any, request: bool, fields: Any) -> None:
        self._type = kind
        self._request = request
        self._kwargs = fields


@pytest.fixture(name="original", autouse=True)
def _original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the two classes importable by the names that conplyent's client uses."""
    module = ModuleType(MODULE)
    for kind in (MSG, MSGType):
        monkeypatch.setattr(kind, "__module__", MODULE)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "conplyent", ModuleType("conplyent"))
    monkeypatch.setitem(sys.modules, MODULE, module)


def _sent(fields: Any, protocol: int = 4, kind: Any = MSGType.COMMAND) -> bytes:
    return pickle.dumps(MSG(kind, True, fields), protocol)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=12,
)


class TestReading:
    """Decoding."""

    @pytest.mark.parametrize("protocol", [3, 4, 5])
    def test_a_command_is_read_in_each_protocol(self, protocol: int) -> None:
        """Every plain type of value arrives unchanged."""
        values = (
            "text",
            7,
            -(2**70),
            1.5,
            True,
            None,
            ["x", {"y": (1,)}],
            {1, 2},
            frozenset([3]),
            b"\0\xff",
            bytearray(b"a"),
        )
        kind, request, fields = pickles.decode(_sent({"cmd_id": "exec", "args": values, "keywargs": {}}, protocol))

        assert (kind, request) == ((2,), True)
        assert fields == {"cmd_id": "exec", "args": values, "keywargs": {}}

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_the_type_of_a_message_is_read_as_each_python_writes_it(
        self, protocol: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Python 3.11.0 to 3.11.3 write a member as the attribute of its class, others as a call with its value."""

        def by_name(self: MSGType, protocol: int) -> Any:
            return getattr, (MSGType, self.name)

        def by_value(self: MSGType, protocol: int) -> Any:
            return MSGType, (self.value,)

        for written in (by_name, by_value):
            monkeypatch.setattr(MSGType, "__reduce_ex__", written)
            for kind in MSGType:
                assert pickles.decode(_sent({}, protocol, kind)) == (kind.value, True, {})

    @pytest.mark.parametrize(
        "arguments",
        [
            (MSGType, "__class__"),
            (MSGType, "mro"),
            (MSGType,),
            (MSGType, "SYNC", None),
            (MSG, "SYNC"),
            ("x", "upper"),
            (),
        ],
    )
    def test_no_attribute_but_a_type_is_read(self, arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        """The message is refused before anything is looked up."""

        def reduced(self: MSGType, protocol: int) -> Any:
            return getattr, arguments

        monkeypatch.setattr(MSGType, "__reduce_ex__", reduced)
        with pytest.raises(InvalidPickle, match="attribute that is no type"):
            pickles.decode(_sent({}))

    @given(st.dictionaries(st.text(max_size=6), PLAIN, max_size=4), st.sampled_from([3, 4, 5]))
    def test_any_plain_value_is_read(self, fields: dict[str, Any], protocol: int) -> None:
        """The values of an honest client arrive unchanged."""
        assert pickles.decode(_sent(fields, protocol))[2] == fields

    @pytest.mark.parametrize("value", [Path("/tmp"), datetime(2026, 1, 1), KeyError("x"), len, int, os.system])
    def test_classes_and_functions_are_never_imported(self, value: Any) -> None:
        """The refusal names the class."""
        with pytest.raises(UnsupportedClass, match="is not taken from the wire"):
            pickles.decode(_sent({"args": (value,)}))

    def test_a_pickle_that_runs_code_is_refused(self, tmp_path: Path) -> None:
        """The command in it does not run."""
        target = tmp_path / "ran"

        class Attack:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {target}",)

        for data in (pickle.dumps(Attack()), _sent({"args": (Attack(),)}), _sent(Attack())):
            with pytest.raises(InvalidPickle):
                pickles.decode(data)
        assert not target.exists()

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b".",
            b"garbage",
            b"\x80\x03N.",
            b"\x80\x03]q\x00h\x00.",
            b"\x80\x03cconplyent._msg\nMSG\n.",
            b"\x80\x03cconplyent._msg\nMSG\n)\x81}b.",
            b"\x80\x03cconplyent._msg\nMSGType\n}}b.",
            b"\x80\x03cconplyent._msg\nMSG\n}b.",
            b"\x80\x03cbuiltins\nset\n}b.",
            b"\x80\x03cbuiltins\nset\nK\x05\x85R.",
            b"\x80\x03I5\n.",
            b"\x80\x03(lp0\n.",
            b"\x80\x03\x82\x01.",
            b"\x80\x03Pid\n.",
        ],
    )
    def test_pickles_that_are_no_message_are_refused(self, data: bytes) -> None:
        """They are cut off, have another shape, or use opcodes that no client uses."""
        with pytest.raises(InvalidPickle):
            pickles.decode(data)

    @pytest.mark.parametrize(
        "attack", ["memo", "bytearray", "length", "nested", "laughs", "shared text", "digits", "many", "trailing"]
    )
    def test_small_messages_of_large_cost_are_refused(self, attack: str) -> None:
        """A few bytes that would take much memory are refused with little."""
        laughs: Any = ["x" * 100]
        for _ in range(20):
            laughs = [laughs, laughs]
        nested: Any = []
        for _ in range(60):
            nested = [nested]
        sent = _sent({})
        data = {
            "memo": b"\x80\x03Nr\xff\xff\xff\x7f.",
            "bytearray": b"\x80\x03cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
            "length": b"\x80\x04\x96\xff\xff\xff\x7f\0\0\0\0.",
            "nested": _sent({"args": nested}),
            "laughs": _sent({"args": laughs}),
            "shared text": _sent({"args": ["x" * 10_000] * 1_000}),
            "digits": _sent({"args": (1 << 5_000,)}),
            "many": _sent({"args": list(range(60_000))}),
            "trailing": sent + b"N.",
        }[attack]
        tracemalloc.start()
        try:
            with pytest.raises(InvalidPickle):
                pickles.decode(data)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    @given(st.binary(max_size=200))
    @example(b".")
    def test_any_bytes_are_refused_without_another_error(self, data: bytes) -> None:
        """Whatever the bytes are, only InvalidPickle is raised."""
        for given_data in (data, b"\x80\x03" + data, b"\x80\x04cconplyent._msg\nMSG\n)\x81" + data):
            with contextlib.suppress(InvalidPickle):
                pickles.decode(given_data)

    @given(st.data())
    def test_damaged_messages_are_read_or_refused(self, draw: Any) -> None:
        """A message with some bytes changed raises nothing but InvalidPickle."""
        data = bytearray(_sent({"cmd_id": "ls", "args": ("x", [1, 2]), "keywargs": {"a": b"b"}}))
        for place, value in draw.draw(
            st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)
        ):
            data[place] = value
        with contextlib.suppress(InvalidPickle):
            pickles.decode(bytes(data))

    def test_a_message_cannot_change_the_decoding_of_the_next(self) -> None:
        """The stand-ins for classes have no attributes that a message can set."""
        for data in (
            b"\x80\x03cconplyent._msg\nMSG\n}X\x01\0\0\0aK\x01sb.",
            b"\x80\x03cconplyent._msg\nMSGType\nK\x01\x85RX\x01\0\0\0aK\x01\x86b.",
        ):
            with pytest.raises(InvalidPickle):
                pickles.decode(data)
        assert pickles.decode(_sent({"a": 1}))[2] == {"a": 1}


class TestWriting:
    """Encoding."""

    @pytest.mark.parametrize(("value", "member"), [((0,), MSGType.ACKNOWLEDGE), (5, MSGType.SYNC)])
    def test_encoded_messages_are_read_by_the_ordinary_unpickler(self, value: Any, member: MSGType) -> None:
        """It builds the classes of conplyent."""
        data = pickles.encode(value, True, {"request_id": 1, "details": ["a", "a"]})
        message = pickle.loads(data)

        assert isinstance(message, MSG)
        assert (message._type, message._request) == (member, True)
        assert message._kwargs == {"request_id": 1, "details": ["a", "a"]}
        assert {opcode.name for opcode, _, _ in pickletools.genops(data)} & {"INST", "OBJ", "EXT1"} == set()

    @pytest.mark.parametrize(
        ("value", "sent"),
        [
            (None, "None"),
            ("text", "text"),
            (b"x", b"x"),
            (Path("/a"), "/a"),
            ({"a": [1, 2.5]}, {"a": [1, 2.5]}),
            ({"a": Path("/a")}, "{'a': PosixPath('/a')}"),
            (datetime(2026, 11, 23, 8), datetime(2026, 11, 23, 8)),
        ],
    )
    def test_values_that_the_client_cannot_read_become_texts(self, value: Any, sent: Any) -> None:
        """So does None, which would end the client's listener."""
        assert pickles.plain(value) == sent

    @pytest.mark.parametrize(
        ("error", "kind", "args"),
        [
            (FileNotFoundError(2, "No such file", "/x"), FileNotFoundError, (2, "No such file")),
            (OSError(13, "Permission denied", "/x"), PermissionError, (13, "Permission denied")),
            (ValueError("bad"), ValueError, ("bad",)),
            (KeyError("name"), KeyError, ("name",)),
            (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"), UnicodeDecodeError, ("utf-8", b"\xff", 0, 1, "why")),
            (InvalidInput("no"), RuntimeError, ("no",)),
            (io.UnsupportedOperation("seek"), OSError, ("seek",)),
            (ValueError(Path("/x")), RuntimeError, ("ValueError: /x",)),
            (Exception("some"), RuntimeError, ("some",)),
        ],
    )
    def test_errors_become_builtin_exceptions(self, error: BaseException, kind: type, args: tuple[Any, ...]) -> None:
        """They have plain arguments and can be pickled."""
        found = pickle.loads(pickle.dumps(pickles.plain(error)))

        assert type(found) is kind
        assert found.args == args
        if isinstance(error, OSError) and error.filename:
            assert found.filename == error.filename
