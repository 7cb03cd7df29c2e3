"""The signals of this system by number and by name."""

from __future__ import annotations

import signal


def parse(text: str | int) -> signal.Signals:
    """Return the signal of a number or a name, in any case and with or without SIG; raises ValueError."""
    name = str(text).upper()
    if name.isdecimal():
        return signal.Signals(int(name))
    try:
        return signal.Signals["SIG" + name.removeprefix("SIG")]
    except KeyError:
        raise ValueError(f"{text} is not a signal of this system") from None
