"""Hints for documents that do not fit their type: the values that are allowed, the fields that there are. No I/O.

msgspec's messages name the path, but not the values that it allows.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_ENUM = re.compile(r"Invalid enum value (.+)", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`", re.DOTALL)
_LEAST_RATIO = 0.6
"""The least similarity of a name that may be meant, from 0 to 1 (difflib)."""
_MOST_NAMES = 30  # in a message
_LONGEST_KEY = 100  # characters of a key in a message


def explained(message: str, where: str, kind: Any, document: Any) -> tuple[str, str]:
    """Return a message of msgspec about `document` with a hint, and the path with the keys that msgspec leaves out.

    `where` is the JSON path from `$` on, and `kind` is the type that the document does not fit.
    """
    kinds, path = _at([kind], where, document)
    if match := _ENUM.fullmatch(message):
        values = [value for each in kinds for value in typing.get_args(each) if typing.get_origin(each) is Literal]
        shown = [repr(value) for value in values]
        if values:
            message = f"{message}; expected {_listed(shown)}{_meant(match[1], shown)}"
    elif match := _UNKNOWN.fullmatch(message):
        names = [name for each in kinds if _is_struct(each) for name in each.__struct_encode_fields__]
        meant = _meant(match[1], names)
        message += meant or (f"; it has {_listed(names)}" if names else "")
    return message, path


def _at(kinds: list[Any], where: str, document: Any) -> tuple[list[Any], str]:
    """Return the types that the value at a path may have, none when they are not known, and the path with its keys."""
    path = "$"
    kinds = _alternatives(kinds)
    for match in _STEP.finditer(where.removeprefix("$")):
        name, index, any_key = match.groups()
        if name is not None:
            kinds = [_field(each, name) for each in kinds if _is_struct(each)]
            document = document.get(name) if isinstance(document, dict) else None
            path += match[0]
        elif index is not None:
            kinds = [arguments[0] for each in kinds if (arguments := _arguments(each, list))]
            within = isinstance(document, list) and int(index) < len(document)
            document = document[int(index)] if within else None
            path += match[0]
        elif any_key:
            kinds = [arguments[1] for each in kinds if (arguments := _arguments(each, dict))]
            key = _bad_key(kinds, document)
            document = document[key] if key is not None else None
            path += any_key if key is None else f".{key[:_LONGEST_KEY]}"
        kinds = _alternatives([each for each in kinds if each is not None])
    return kinds, path


def _bad_key(kinds: list[Any], document: Any) -> str | None:
    """Return the first key whose value fits none of the types, or None."""
    for key, value in document.items() if isinstance(document, dict) else ():
        if not any(_fits(value, kind) for kind in kinds):
            return str(key)
    return None


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _alternatives(kinds: Iterable[Any]) -> list[Any]:
    """Return the types without annotations, and the members of unions in their place."""
    found: list[Any] = []
    for kind in kinds:
        origin = typing.get_origin(kind)
        if origin is Annotated:
            found += _alternatives([typing.get_args(kind)[0]])
        elif origin in (typing.Union, types.UnionType):
            found += _alternatives(typing.get_args(kind))
        else:
            found.append(kind)
    return found


def _arguments(kind: Any, origin: type) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is origin else ()


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _field(kind: type[msgspec.Struct], name: str) -> Any:
    """Return the type of a field by its name in documents, or None."""
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    return typing.get_type_hints(kind, include_extras=True).get(names.get(name, ""))


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:_MOST_NAMES])}{' and others' if len(names) > _MOST_NAMES else ''}"


def _meant(name: str, names: list[str]) -> str:
    import difflib

    near = [each for each in names if each.casefold() == name.casefold()]
    near = near or difflib.get_close_matches(name[:_LONGEST_KEY], names, 1, _LEAST_RATIO)
    return f"; did you mean {near[0]}?" if near else ""
