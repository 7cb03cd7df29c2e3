"""The words of verdicts."""

from __future__ import annotations

from typing import get_args

from smartmob import verdict_words
from smartmob.metrics.verdict.verdicts import Alarm, Verdict
from smartmob.turrets.report.run_comparison import StatisticVerdict, Worst


def test_each_key_has_one_word() -> None:
    """The table has the words that people read, and what is not listed is its own word."""
    assert {key: verdict_words.word(key) for key in get_args(Verdict)} == {
        "regression": "slower",
        "suspect": "maybe slower",
        "unfit": "cannot tell",
        "improvement": "faster",
        "gone": "gone",
        "new": "new",
        "noise": "no change",
    }
    shown = {verdict_words.word(key) for key in (*get_args(StatisticVerdict), *get_args(Worst))}
    assert shown.isdisjoint({"same", "unfit", "incomparable"})
    assert verdict_words.word("more errors") == "more errors"


def test_memory_is_larger_and_not_slower() -> None:
    """A resource that is no time has words of sizes."""
    assert [verdict_words.word(key, "mem_usage") for key in ("regression", "suspect", "improvement", "noise")] == [
        *("larger", "maybe larger", "smaller", "no change")
    ]
    assert verdict_words.still("a11c0de" + "0" * 33, "mem_usage") == "still larger since a11c0de00000"


def test_options_take_words_and_keys() -> None:
    """Each alarm is understood by its key and by its word, with spaces or hyphens."""
    for key in get_args(Alarm):
        for text in (key, verdict_words.word(key), verdict_words.option(key)):
            assert verdict_words.key_of(text) == key
    assert verdict_words.key_of(" luck ") == "luck"
