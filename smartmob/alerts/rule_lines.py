"""The texts of rules and receivers in the settings and on the command line. No I/O.

A rule is `NAME: CONDITION [on PATTERN…] [to RECEIVER…] [severity LEVEL] [repeat DURATION] [without resolved]`.
"""

from __future__ import annotations

import msgspec

from smartmob.alerts import conditions
from smartmob.alerts.model import ConfiguredReceiver, ConfiguredRule, NewReceiver, NewRule
from smartmob.errors import InvalidInput, SettingsError

_KEYWORDS = ("on", "to", "severity", "repeat", "without")


def parse_rule(text: str, source: str) -> ConfiguredRule:
    """Return the rule of a line; raises SettingsError that names `source`."""
    name, colon, rest = text.partition(":")
    if not colon or not rest.strip():
        raise SettingsError(f"{source}: expected NAME: CONDITION, such as 'busy: cpu > 90 for 5m', got {text!r}")
    words = rest.split()
    first = next((number for number, word in enumerate(words) if word in _KEYWORDS), len(words))
    fields: dict[str, object] = {"condition": " ".join(words[:first])}
    for keyword, values in _clauses(words[first:]):
        fields |= _clause(keyword, values, source)
    try:
        conditions.parse(str(fields["condition"]), source)
        return name.strip(), msgspec.convert(fields, NewRule)
    except InvalidInput as error:
        raise SettingsError(str(error)) from None
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {error}") from None


def parse_receiver(text: str, source: str, secret: str = "") -> ConfiguredReceiver:
    """Return the receiver of NAME=ADDRESS; raises SettingsError. The address may be secret, so no error shows it.

    NAME may end with `+slack`, for services that accept only `{"text": …}`.
    """
    name, equals, address = text.partition("=")
    if not equals or not address.strip():
        raise SettingsError(f"{source}: expected NAME=ADDRESS, such as ops=https://chat.example.com/hooks/1")
    name, _, form = name.strip().partition("+")
    if form not in ("", "slack"):
        raise SettingsError(f"{source}: expected NAME or NAME+slack before the address")
    return name, NewReceiver(address=address.strip(), format="slack" if form else "json", secret=secret)


def _clauses(words: list[str]) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word in _KEYWORDS:
            found.append((word, []))
        else:
            found[-1][1].append(word)
    return found


def _clause(keyword: str, values: list[str], source: str) -> dict[str, object]:
    match keyword, values:
        case "on", [_, *_]:
            return {"subjects": values}
        case "to", [_, *_]:
            return {"receivers": values}
        case "severity", [level]:
            return {"severity": level}
        case "repeat", [duration]:
            try:
                return {"repeat": conditions.seconds_of(duration)}
            except ValueError:
                raise SettingsError(
                    f"{source}: expected a duration such as 1h after repeat, got {duration!r}"
                ) from None
        case "without", ["resolved"]:
            return {"resolved": False}
    raise SettingsError(f"{source}: did not expect {' '.join([keyword, *values])!r}")
