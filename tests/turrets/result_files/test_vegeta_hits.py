"""Results of Vegeta."""

from __future__ import annotations

import json

import pytest

from smartmob.turrets.result_files.load_sample import CUT_OFF
from tests.turrets.result_files.read_samples import samples_of

NANOSECONDS = 1_714_550_400_000_000_000


def _json(code: int, **further: object) -> str:
    hit = {"attack": "big", "seq": 0, "code": code, "timestamp": "2024-05-01T10:00:00+02:00", "latency": 1_500_000}
    return json.dumps(hit | further) + "\n"


def _csv(code: int, error: str = "", further: str = "") -> str:
    return f"{NANOSECONDS},{code},1500000,0,17,{error},aGVsbG8=,big,3{further}\n"


@pytest.mark.parametrize(
    ("text", "timer"),
    [
        (_json(200), "big"),
        (_json(200, method="GET", url="http://h/x"), "GET http://h/x"),
        (_csv(200), "big"),
        (_csv(200, further=",GET,http://h/x,QTog"), "GET http://h/x"),
    ],
)
def test_a_hit_is_a_transaction(text: str, timer: str) -> None:
    """The time is that of its begin; latencies are in nanoseconds."""
    (sample,), _ = samples_of(text)
    assert (sample.timer, sample.seconds, sample.failed) == (timer, 0.0015, False)
    assert sample.end == pytest.approx(1_714_550_400.0015)


@pytest.mark.parametrize("make", [lambda code, error: _json(code, error=error), _csv])
def test_failures_are_those_of_vegeta(make: object) -> None:
    """Codes from 200 to 399 are successes; 0 is that of a request without an answer."""
    assert callable(make)
    text = make(301, "") + make(404, "404 Not Found") + make(0, "EOF") + make(500, "")
    samples, _ = samples_of(text)
    found = [(sample.failed, sample.error, sample.code) for sample in samples]
    assert found == [(False, "", ""), (True, "404 Not Found", "404"), (True, "EOF", ""), (True, "status 500", "500")]


@pytest.mark.parametrize("cut", [_json(200)[:40], _csv(200)[:30]])
def test_a_line_that_is_cut_off_is_told(cut: str) -> None:
    """The hits before it count."""
    whole = _json(200) if cut.startswith("{") else _csv(200)
    samples, account = samples_of(whole + cut)
    assert (len(samples), account.remarks.count(CUT_OFF)) == (1, 1)


def test_the_beginnings_of_attacks_are_counted() -> None:
    """The numbers of the hits of each attack begin at 0; files of old versions have none."""
    text = "".join(_json(200, seq=number) for number in (0, 1, 2, 0, 1))
    assert samples_of(text)[1].parts == 2
    assert samples_of(_csv(200) + _csv(200).replace(",big,3", ",big,0"))[1].parts == 1
    old = json.loads(_json(200))
    del old["seq"]
    assert samples_of(json.dumps(old) + "\n")[1].parts == 0
