"""Rules about the data of alerts."""

from __future__ import annotations

import pytest

from smartmob.alerts.model import Silence, check_name, one_line
from smartmob.errors import InvalidInput
from smartmob.kernel.runtime import ids
from tests.alerts.samples import NOW, rule


def test_patterns_choose_subjects() -> None:
    """Without patterns a rule is about all subjects; capital letters count."""
    assert rule().matches("anything")
    chosen = rule(subjects=["lab-*", "rack[12]"])
    assert [name for name in ("lab-7", "rack1", "rack3", "LAB-7") if chosen.matches(name)] == ["lab-7", "rack1"]


def test_a_silence_covers_what_both_patterns_fit() -> None:
    """A pattern for the rule and one for the subject."""
    silence = Silence(id=ids.uuid7(), rule="busy", subject="lab-*", until=NOW, text="", author="", made_at=NOW)
    assert silence.covers("busy", "lab-1")
    assert not silence.covers("gone", "lab-1")
    assert not silence.covers("busy", "rack")


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "é", "x" * 65, "a\n"])
def test_a_bad_name_is_refused(name: str) -> None:
    """Names stand in addresses and lines."""
    with pytest.raises(InvalidInput, match="name"):
        check_name("name", name)
    assert check_name("name", "disk.low_2-b") == "disk.low_2-b"


def test_a_text_of_others_becomes_one_line() -> None:
    """Control characters become blanks, and a long text is cut."""
    assert one_line("a\r\nb\x1b[31m\u2028c") == "a  b [31m c"
    assert one_line("x" * 600) == "x" * 499 + "…"
