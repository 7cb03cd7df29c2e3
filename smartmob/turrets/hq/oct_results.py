"""The fast decoding of many results of turrets of OCT at once. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from smartmob.turrets.protocol import LONGEST_TEXT, MOST_TIMERS, BoundedNumber, Name


class OctResult(msgspec.Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A result with the documented keys and no others; it has no number."""

    elapsed: BoundedNumber
    epoch: BoundedNumber
    scriptrun_time: BoundedNumber
    error: Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)] = ""
    custom_timers: Annotated[dict[Name, BoundedNumber], msgspec.Meta(max_length=MOST_TIMERS)] = {}
    turret_name: Name | None = None

    uuid: ClassVar[msgspec.UnsetType] = msgspec.UNSET
    sequence: ClassVar[msgspec.UnsetType] = msgspec.UNSET
    details: ClassVar[msgspec.UnsetType] = msgspec.UNSET


_DECODER = msgspec.json.Decoder(OctResult)


def decode_oct_results(frames: Sequence[bytes]) -> list[OctResult]:
    """Return the results in some frames, or [] if one of the frames is anything but one such result."""
    try:
        results = _DECODER.decode_lines(b"\n".join(frames))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    # The numbers differ when a frame holds several messages, or when two frames together make up one message.
    return results if len(results) == len(frames) else []
