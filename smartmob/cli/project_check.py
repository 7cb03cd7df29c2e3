"""Checks the configuration of a project before it is sent: a fault is reported with its file, line and field."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from smartmob.errors import InvalidInput, SettingsError
from smartmob.turrets.model import RunConfig, TurretConfig
from smartmob.turrets.project import DECODER, check_warm_up
from smartmob.turrets.turret.configuration import TurretConfiguration
from smartmob.turrets.turret.schedule import Arrivals, Rate, Stage

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_ALIKE = 0.8
"""The similarity from which one of two keys counts as a misspelling of the other (`difflib`, from 0 to 1)."""
_RUN_KEYS = RunConfig.__struct_fields__
_TURRET_KEYS = tuple(dict.fromkeys((*TurretConfig.__struct_fields__, *TurretConfiguration.__struct_fields__)))
_OTHER_WORDS = {
    **dict.fromkeys(("duration", "time", "runtime", "run-time"), "run_time"),
    **dict.fromkeys(("thresholds", "conditions", "ensure", "assertions"), "fail_if"),
    **dict.fromkeys(("warmup", "warm-up"), "warm_up"),
    "rate": "total_rate, or the rate of a turret",
}
"""Keys of other tools for values that a project also has."""
_OTHER_TURRET_WORDS = {
    **dict.fromkeys(("users", "vus", "threads", "concurrency"), "cannons"),
    **dict.fromkeys(("ramp_up", "rampUp", "ramp-up", "ramp_time"), "rampup"),
    **dict.fromkeys(("arrival_rate", "arrivalRate", "rps"), "rate"),
}


def check(config: bytes, name: str, warm_up: float | None = None) -> list[str]:
    """Return doubts about the configuration in the file `name`, each in a line; raises SettingsError for a fault.

    `warm_up` are the seconds that the command line gives instead of those of the configuration. Unknown keys of turrets
    go to their scripts, so that one that looks misspelt is only doubted. A project has no such keys.
    """
    document = _document(config, name)
    lines = lines_of(config.decode())
    try:
        parsed = DECODER.decode(config)
        check_warm_up(parsed if warm_up is None else msgspec.structs.replace(parsed, warm_up=warm_up), "$")
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        path = where.rstrip("`") or "$"
        hints = [_hint(key) for key in document if key not in _RUN_KEYS] if "missing required" in message else []
        raise _fault(name, lines, path, "; ".join([message, *filter(None, hints)])) from None
    except msgspec.DecodeError as error:
        raise SettingsError(f"{name}: {error}") from None
    except InvalidInput as error:
        raise _fault(name, lines, "$.warm_up", error.faults[0].message) from None
    for key in document:
        if key not in _RUN_KEYS and (hint := _hint(key)):
            raise _fault(name, lines, f"$.{key}", hint)
    doubts: list[str] = []
    for number, turret in enumerate(document.get("turrets", ())):
        if isinstance(turret, dict):
            path = f"$.turrets[{number}]"
            _check_rate(turret, path, name, lines)
            doubts += [
                f"{name}:{lines.get(f'{path}.{key}', 1)}: {path}.{key} goes to the script; {hint}"
                for key in turret
                if key not in _TURRET_KEYS and (hint := _meant(key, _TURRET_KEYS, _OTHER_TURRET_WORDS))
            ]
    return doubts


def _document(config: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(config.decode(), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{name}:{error.lineno}:{error.colno}: is not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}: is not UTF-8; save it as UTF-8") from None
    except RecursionError:
        raise SettingsError(f"{name}: has too many levels") from None
    except ValueError as error:
        raise SettingsError(f"{name}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise SettingsError(f'{name}:1: must be an object, such as {{"run_time": 30}}')
    return document


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _check_rate(turret: Mapping[str, Any], path: str, name: str, lines: Mapping[str, int]) -> None:
    """Raise SettingsError if the rate of a turret is invalid; its turret would refuse it later, on another machine."""
    if turret.get("rate") is None:
        return
    try:
        Arrivals.of(msgspec.convert(turret["rate"], Rate | list[Stage], strict=False))
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise _fault(name, lines, f"{path}.rate{where.rstrip('`')}", message) from None
    except InvalidInput as error:
        raise _fault(name, lines, f"{path}.rate", str(error).removeprefix("$.rate: ")) from None


def _fault(name: str, lines: Mapping[str, int], path: str, message: str) -> SettingsError:
    line, known = None, path
    while (line := lines.get(known)) is None and known != "$":
        known = known[: max(known.rfind("."), known.rfind("["), 1)]
    return SettingsError(f"{name}:{line or 1}: {path.removeprefix('$.')}: {message}")


def _hint(key: str) -> str:
    found = _meant(key, _RUN_KEYS, _OTHER_WORDS)
    return f"{key} is not a project key; {found}" if found else ""


def _meant(key: str, known: tuple[str, ...], other_words: Mapping[str, str]) -> str:
    """Return the key that was probably meant, or ""."""
    found = other_words.get(key) or next(iter(difflib.get_close_matches(key, known, 1, _ALIKE)), None)
    return f"did you mean {found}?" if found else ""


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each value of a JSON text by its path, such as `$.turrets[0].name`; the first line is 1."""
    found: dict[str, int] = {}
    brackets: list[tuple[str, str]] = []  # of the open objects and arrays: the kind of the bracket, and the path
    names: list[str | int | None] = []  # of the present value in each: its key or index
    line, last = 1, 0
    for match in _PIECE.finditer(text):
        line, last, piece = line + text.count("\n", last, match.start()), match.start(), match[0]
        if piece == ":":
            continue
        if piece == "," and names:
            names[-1] = names[-1] + 1 if isinstance(names[-1], int) else None
        elif piece in ("}", "]") and brackets:
            brackets.pop()
            names.pop()
        elif brackets and brackets[-1][0] == "{" and names[-1] is None:
            names[-1] = str(json.loads(piece))
            found.setdefault(f"{brackets[-1][1]}.{names[-1]}", line)
        else:
            path = "$"
            if brackets:
                path = f"{brackets[-1][1]}[{names[-1]}]" if brackets[-1][0] == "[" else f"{brackets[-1][1]}.{names[-1]}"
            found.setdefault(path, line)
            if piece in ("{", "["):
                brackets.append((piece, path))
                names.append(0 if piece == "[" else None)
    return found
