"""Messages as turrets send them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from smartmob.turrets.protocol import ErrorKind, Slice
from smartmob.turrets.slices import NO_KIND, Distribution


def oct_result(**changes: Any) -> bytes:
    """Return a result with exactly the keys that a turret of OCT sends."""
    result = {"elapsed": 0.5, "epoch": 1_795_422_133.0, "scriptrun_time": 0.01, "error": "", "custom_timers": {}}
    return json.dumps(result | changes).encode()


def oct_status(status: str, uuid: str = "u1", **changes: Any) -> bytes:
    """Return a status with exactly the keys that a turret of OCT sends."""
    told = {"turret": "nav", "status": status, "uuid": uuid, "rampup": 0, "script": "v_user.py", "cannons": 2}
    return json.dumps(told | changes).encode()


def slice_of(
    second: int,
    values: Sequence[float],
    timer: str = "",
    errors: Mapping[str, int] | None = None,
    late: int = 0,
    *,
    failed: bool = False,
    untimed: int = 0,
    kind: ErrorKind = NO_KIND,
) -> Slice:
    """Return the slice of some values; without `failed` and with errors, it is one of version 1 of the protocol."""
    distribution = Distribution()
    distribution.record_many(values)
    for text, times in (errors or {}).items():
        distribution.fail(text, times, kind)
    distribution.late, distribution.untimed = late, untimed
    return distribution.slice(second, timer, failed=failed)


def slices(run: str, sequence: int, parts: Sequence[Slice], uuid: str = "u1") -> bytes:
    """Return a numbered message of a turret of smartmob."""
    message = {"slices": parts, "turret": "nav", "uuid": uuid, "run": run, "sequence": sequence}
    return msgspec.json.encode(message)


def own_status(status: str, run: str | None, uuid: str = "u1", **report: Any) -> bytes:
    """Return a status of a turret of smartmob."""
    told = {"protocol": 1, "version": "1", "host": "rack7", "run": run} | report
    return oct_status(status, uuid, smartmob=told)
