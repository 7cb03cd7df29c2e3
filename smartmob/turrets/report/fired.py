"""The facts in the report of a run about its load: targets, project, scripts, and the configuration without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

_TARGETS = ("url", "target", "base_url")
"""The keys under which the scripts of examples and of OCT's users keep the address of a target."""
_SECRET = re.compile(r"pass(word|wd)?$|secret|token|credential|api_?key|authorization", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_HIDDEN = "***"
_LONGEST_TEXT = 20_000  # characters of the configuration; a report is one page


class ReportedLoad(msgspec.Struct, frozen=True):
    """Facts about a load test: addresses and script names as they stand in its configuration, which is `text`."""

    targets: list[str]
    project: str
    scripts: list[str]
    text: str


def fired(config: Mapping[str, Any], name: str) -> ReportedLoad:
    """Return the facts about a run called `name`; a report is passed on, so secrets in the configuration are hidden."""
    shown = _without_secrets(config)
    turrets = [turret for turret in shown.get("turrets") or () if isinstance(turret, dict)]
    targets = dict.fromkeys(text for part in (*turrets, shown) for text in _texts(part, *_TARGETS))
    scripts = dict.fromkeys(text for turret in turrets for text in _texts(turret, "script"))
    text = orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
    cut = f"{text[:_LONGEST_TEXT]}\n…" if len(text) > _LONGEST_TEXT else text
    project = next(iter(_texts(shown, "name")), name)
    return ReportedLoad(list(targets), project, list(scripts), cut if config else "")


def _texts(part: Mapping[str, Any], *keys: str) -> Iterator[str]:
    return (value for key in keys if isinstance(value := part.get(key), str) and value)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _HIDDEN if _SECRET.search(key) and each else _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    return _USER.sub(f"{_HIDDEN}@", value) if isinstance(value, str) else value
