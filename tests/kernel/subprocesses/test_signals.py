"""Signals by number and by name."""

from __future__ import annotations

import signal

import pytest

from smartmob.kernel.subprocesses import signals


@pytest.mark.parametrize("text", [int(signal.SIGUSR1), str(int(signal.SIGUSR1)), "USR1", "usr1", "SIGUSR1", "sigusr1"])
def test_a_signal_is_found_by_number_and_by_name(text: str | int) -> None:
    """A name counts in any case, with SIG or without."""
    assert signals.parse(text) is signal.Signals.SIGUSR1


@pytest.mark.parametrize("text", [0, -1, 999, "", "SIG", "STOPPED", "USR1 ", "1.0", "²"])
def test_a_text_that_is_no_signal_is_refused(text: str | int) -> None:
    """The message repeats the text."""
    with pytest.raises(ValueError, match="is not a "):
        signals.parse(text)
