"""Each number, name and count that a turret sends has a bound, which is tried one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from smartmob.errors import InvalidInput
from smartmob.turrets.names import timer_name
from smartmob.turrets.protocol import LONGEST_NAME, LONGEST_TEXT, Result, Slices, Status, decode
from tests.turrets.messages import oct_result, own_status, slice_of, slices

CUT_OFF = {"Result.error": LONGEST_TEXT, "Result.turret_name": LONGEST_NAME, "Result.custom_timers.key": LONGEST_NAME}
"""Texts that are cut off at a number of characters and not refused."""

_HEALTH = {"cpu": 1, "busiest": 1, "cores": 1, "lag": 0, "memory": 1, "processes": 1}

_COUNTS = (
    *("users", "transactions", "errors", "late_starts", "lateness", "never_started", "paused", "sequence"),
    *("acknowledged", "dropped", "joined", "sent", "received"),
)


def _example(kind: str) -> dict[str, Any]:
    """Return a good message with all of its keys."""
    if kind == "Status":
        document = msgspec.json.decode(own_status("ready", "run", "u1", health=_HEALTH))
        document |= {"rampup": 0, "script": "x", "cannons": 1, "canons": 1}
        document["smartmob"]["plan"] = {"stages": [{"seconds": 0, "first": 1, "last": 1}]}
        document["smartmob"] |= dict.fromkeys(_COUNTS, 0) | {"reason": "", "final": False, "script_digest": ""}
    elif kind == "Slices":
        document = msgspec.json.decode(slices("run", 1, [slice_of(0, [0.01], errors={"boom": 1})], "u1"))
        document["slices"][0] |= {
            "late": 0,
            "failed": True,
            "untimed": 0,
            "kinds": {"boom": {"kind": "k", "code": "1"}},
        }
    else:
        document = msgspec.json.decode(oct_result(custom_timers={"t": 1}, error="x"))
        document |= {"turret_name": "x", "uuid": "u1", "run": "run", "sequence": 1}
        error = {"error": "x", "kind": "k", "code": "1"}
        document["details"] = {"kind": "k", "code": "1", "untimed": False, "timers": {"t": error}}
    return dict(document)


def _leaves(kind: inspect.Type, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], inspect.Type]]:
    """Yield all texts, numbers and collections in a message, by their paths."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from _leaves(field.type, (*path, field.encode_name))
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _leaves(one, path)
    elif isinstance(kind, inspect.DictType):
        yield path, kind
        yield from _leaves(kind.key_type, (*path, "key"))
        yield from _leaves(kind.value_type, (*path, "value"))
    elif isinstance(kind, inspect.ListType):
        yield path, kind
        yield from _leaves(kind.item_type, (*path, "0"))
    elif isinstance(kind, inspect.StrType | inspect.IntType | inspect.FloatType):
        yield path, kind


LEAVES = {
    ".".join(path): (path, kind)
    for message in (Status, Slices, Result)
    for path, kind in _leaves(inspect.type_info(message), (message.__name__,))
}


def _beyond(kind: inspect.Type, found: Any) -> list[Any]:
    """Return values just beyond the bounds of a type; raises AssertionError if it has none."""
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        assert kind.ge is not None
        assert kind.le is not None
        if isinstance(kind, inspect.IntType):
            return [kind.le + 1, kind.ge - 1, 10**30]
        return [kind.le * 1.01, kind.ge - 1 - abs(kind.ge) * 0.01, 1e300, "nan", "inf"]
    assert isinstance(kind, inspect.StrType | inspect.DictType | inspect.ListType)
    assert kind.max_length is not None
    if isinstance(kind, inspect.StrType):
        return ["x" * (kind.max_length + 1)]
    if isinstance(kind, inspect.ListType):
        return [[found[0]] * (kind.max_length + 1)]
    return [{f"x{number}": 1 for number in range(kind.max_length + 1)}]


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if name == "value":
            (document,) = document.values()
        else:
            document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def _changed(path: tuple[str, ...], value: Any) -> bytes:
    """Return the example of a message with a value at a path."""
    document = _example(path[0])
    inside = _at(document, path[1:-1])
    if path[-1] == "key":
        (old,) = inside
        inside[value] = inside.pop(old)
    elif path[-1] == "value":
        (name,) = inside
        inside[name] = value
    else:
        inside[path[-1]] = value
    return msgspec.json.encode(document)


def test_the_examples_have_every_key() -> None:
    """Each leaf of the types is in an example, and the examples are good."""
    for kind in ("Status", "Slices", "Result"):
        decode(msgspec.json.encode(_example(kind)))
    for path, _ in LEAVES.values():
        if path[-1] not in ("key", "value"):
            _at(_example(path[0]), path[1:])


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - CUT_OFF.keys()))
def test_a_value_beyond_its_bound_is_refused(name: str) -> None:
    """The type has a bound, and a message with a value beyond it is refused as a whole."""
    path, kind = LEAVES[name]
    found = None if path[-1] in ("key", "value") else _at(_example(path[0]), path[1:])
    for value in _beyond(kind, found):
        with pytest.raises(InvalidInput):
            decode(_changed(path, value))


@pytest.mark.parametrize("name", sorted(CUT_OFF))
def test_a_long_text_is_cut_off(name: str) -> None:
    """Of a longer text in a result the beginning is kept."""
    path, _ = LEAVES[name]
    message = decode(_changed(path, "x" * (CUT_OFF[name] + 1)))
    assert isinstance(message, Result)
    kept = {"error": message.error, "turret_name": message.turret_name, "key": next(iter(message.custom_timers or {}))}
    # The names of timers follow their own rule.
    wanted = timer_name("x" * (LONGEST_NAME + 1)) if path[-1] == "key" else "x" * CUT_OFF[name]
    assert kept[path[-1]] == wanted
