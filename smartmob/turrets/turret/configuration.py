"""The configuration of one turret: keys of OCT and of smartmob. All other keys belong to the script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson

from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import MOST_STAGES, TurretPlan
from smartmob.turrets.turret.schedule import Arrivals, Duration, Rate, Stage, stages_of

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Cannons = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=31 * 86_400)]
Key = Annotated[str, msgspec.Meta(min_length=40, max_length=40)]

_CLASSES = {"turret_class": "oct_turrets.turret.Turret", "cannon_class": "oct_turrets.cannon.Cannon"}
"""The keys by which a configuration of OCT can replace a class, with the only value that is accepted."""


class TurretConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration file of a turret.

    `cannons` (or `canons`): number of concurrent users; with `rate` the largest number. `rampup`: seconds over which
    they start. `rate`: arrivals per second (the open model), a number or a list of stages. `processes`: number of
    processes that share the cannons. `grace`: seconds that transactions under way have to finish when the run ends.
    `patience`: seconds without a headquarters after which firing ends. `hq_public_key`: the CURVE key of the
    headquarters, `curve_key_file`: a certificate of this turret.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    script: Annotated[str, msgspec.Meta(min_length=1)]
    hq_address: Annotated[str, msgspec.Meta(min_length=1)]
    hq_publisher: Port
    hq_rc: Port
    cannons: Cannons
    rampup: Seconds = 0.0
    rate: Rate | list[Stage] | None = None
    processes: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    grace: Seconds = 10.0
    patience: Duration = 60.0
    hq_public_key: Key | None = None
    curve_key_file: str | None = None

    def arrivals(self) -> Arrivals | None:
        """Return the intended starts of the open model, or None for the closed one."""
        return None if self.rate is None else Arrivals.of(self.rate)

    def plan(self) -> TurretPlan | None:
        """Return how transactions start, for the report to the headquarters; None if it has too many stages."""
        stages = None if self.rate is None else stages_of(self.rate)
        return TurretPlan(stages=stages) if stages is None or len(stages) <= MOST_STAGES else None


def parse(given: Mapping[str, Any]) -> TurretConfiguration:
    """Return the validated configuration; numbers may be strings, as in OCT. Raises InvalidInput that names the key."""
    try:
        configuration = msgspec.convert(_as_of_oct(given), TurretConfiguration, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    if configuration.rate is not None and configuration.rampup:
        raise InvalidInput.at("$.rampup", "with a rate, a ramp is a stage of the rate; leave rampup out")
    if configuration.processes > configuration.cannons:
        raise InvalidInput.at("$.processes", "there must be at least one cannon for each process")
    configuration.arrivals()
    return configuration


def _as_of_oct(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the keys that only OCT's files have; raises InvalidInput for custom classes."""
    document = dict(given)
    if "cannons" not in document and "canons" in document:
        document["cannons"] = document["canons"]
    if document.get("rampup") is None:
        document.pop("rampup", None)
    for key, usual in _CLASSES.items():
        if document.get(key) not in (None, "", usual):
            raise InvalidInput.at(f"$.{key}", "classes that replace those of OCT are not supported; leave the key out")
    return document


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a configuration file; raises InvalidInput."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} must contain a JSON object")
    return document


def _invalid(error: msgspec.ValidationError) -> InvalidInput:
    """Return the error with its key; for a missing key msgspec names the key only in the text of the error."""
    message, _, where = str(error).partition(" - at `")
    if missing := re.search(r"missing required field `(\w+)`", message):
        return InvalidInput.at(f"$.{missing[1]}", "this key is required")
    return InvalidInput.at(where.rstrip("`") or "$", message)
