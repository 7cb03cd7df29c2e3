"""The check of a project's configuration before it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.cli.project_check import check, lines_of
from smartmob.errors import SettingsError

GOOD: dict[str, Any] = {"run_time": 30, "turrets": [{"name": "t", "script": "s.py", "cannons": 1, "url": "http://x"}]}


def _pretty(**changes: Any) -> bytes:
    """Return a configuration with a line for each value; the first key is in the second line."""
    return json.dumps(GOOD | changes, indent=1).encode()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (_pretty(run_time="x"), "c.json:2: run_time: Expected `float`, got `str`"),
        (_pretty(run_time=0), "c.json:2: run_time: Expected `float` > 0.0"),
        (_pretty(turrets=[{"name": "t", "cannons": "five"}]), "c.json:6: turrets[0].cannons: Expected `int | null`"),
        (_pretty(turrets=[{"name": "t"}, {"name": ""}]), "c.json:8: turrets[1].name: Expected `str` of length >= 1"),
        (_pretty(turrets=[{"cannons": 1}]), "c.json:4: turrets[0]: Object missing required field `name`"),
        (_pretty(turrets={}), "c.json:3: turrets: Expected `array`, got `object`"),
        (_pretty(turrets=[{"name": "t", "rate": "fast"}]), "c.json:6: turrets[0].rate: Expected `float | array`"),
        (
            _pretty(turrets=[{"name": "t", "rate": [{"seconds": 1, "target": 5}]}]),
            "c.json:7: turrets[0].rate[0]: Object contains unknown field `target`",
        ),
        (_pretty(warm_up=30), "c.json:11: warm_up: 30 s of warm-up leave nothing of a run of 30 s"),
        (_pretty(min_turret=2), "c.json:11: min_turret: min_turret is not a project key; did you mean min_turrets?"),
        (_pretty(thresholds={}), "c.json:11: thresholds: thresholds is not a project key; did you mean fail_if?"),
        (_pretty(fail_iff=[]), "did you mean fail_if?"),
        (_pretty(rate=5), "did you mean total_rate, or the rate of a turret?"),
        (b'{"run_tme": 5}', "missing required field `run_time`; run_tme is not a project key; did you mean"),
        (b'{"duration": 5}', "duration is not a project key; did you mean run_time?"),
        (b'{\n "run_time": 5,\n}', "c.json:3:1: is not JSON: Expecting property name"),
        (b"", "c.json:1:1: is not JSON"),
        (b"[]", "c.json:1: must be an object"),
        (b'{"run_time": NaN}', "c.json: is not JSON: NaN is not a number"),
        (b'{"run_time": 5, "name": "\xff"}', "c.json: is not UTF-8"),
        (b'\xef\xbb\xbf{"run_time": 5}', "c.json"),
        (b'{"a": ' + b"[" * 100_000, "c.json"),
    ],
)
def test_a_fault_has_its_file_line_and_field(config: bytes, said: str) -> None:
    """All in one line, before anything is sent."""
    with pytest.raises(SettingsError) as found:
        check(config, "c.json")
    assert said in str(found.value)
    assert str(found.value).startswith("c.json:")
    assert "\n" not in str(found.value)


def test_keys_of_scripts_are_doubted_only_where_they_look_misspelt() -> None:
    """Unknown keys of turrets are those of their scripts, and keys of projects for other readers stay."""
    turret = {"name": "t", "ramp_up": 5, "vus": 3, "url": "http://x", "user_name": "me", "hq_address": "h"}
    assert check(_pretty(turrets=[turret, "turrets/other.json"], owner="me", ticket=7), "c.json") == [
        "c.json:6: $.turrets[0].ramp_up goes to the script; did you mean rampup?",
        "c.json:7: $.turrets[0].vus goes to the script; did you mean cannons?",
    ]
    assert check(_pretty(), "c.json") == []


def test_the_warm_up_of_the_command_line_counts() -> None:
    """A shorter one than that of the project makes it valid, a longer one is refused."""
    assert check(_pretty(warm_up=30), "c.json", 0.0) == []
    with pytest.raises(SettingsError, match="40 s of warm-up"):
        check(_pretty(), "c.json", 40.0)


def test_the_lines_of_values() -> None:
    """Strings with brackets, empty values and nested lists do not confuse them."""
    text = '{\n"a{[": "},]",\n"b": [[], {},\n[1, "\\""]],\n"c": {"d":\nnull}}'
    assert lines_of(text) == {
        **{"$": 1, "$.a{[": 2, "$.b": 3, "$.b[0]": 3, "$.b[1]": 3, "$.b[2]": 4, "$.b[2][0]": 4, "$.b[2][1]": 4},
        **{"$.c": 5, "$.c.d": 5},
    }
