"""Which machines are silent, and which figures are beyond a limit."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.alerts.conditions import Silent, Threshold, parse
from smartmob.alerts.host_observer import FRESH_SECONDS, HostObserver, amount, duration, field_of
from smartmob.alerts.observation import Observations
from tests.alerts.samples import Machines, host, rule


def _health(found: Observations) -> dict[str, str]:
    return {each.subject: str(each.health) for each in found.found}


async def _silent(observer: HostObserver, now: float, text: str = "silent for 60s", **more: Any) -> dict[str, str]:
    condition = parse(text)
    assert isinstance(condition, Silent)
    await observer.read(now)
    return _health(observer.silent(rule(condition=text, **more), condition))


async def test_a_machine_is_silent_when_its_newest_sample_does_not_change() -> None:
    """The clock of the machine does not count: a sample of last year that is new is heard."""
    machines = Machines(host("a", -3e7), host("b", 0))
    observer = HostObserver(machines)
    assert await _silent(observer, 1000) == {"a": "unknown", "b": "unknown"}
    machines.all = [host("a", -3e7 + 1), host("b", 0)]
    assert await _silent(observer, 1030) == {"a": "good", "b": "unknown"}
    assert await _silent(observer, 1060) == {"a": "good", "b": "bad"}
    assert await _silent(observer, 1090) == {"a": "bad", "b": "bad"}


async def test_a_restart_of_the_service_makes_no_machine_silent() -> None:
    """The silence counts from the first look, so the time in which nothing could be received is none."""
    observer = HostObserver(Machines(host("a", -7200)))
    assert await _silent(observer, 0) == {"a": "unknown"}


async def test_a_machine_that_never_reported_is_not_silent() -> None:
    """It was registered and is not expected yet."""
    observer = HostObserver(Machines(host("a", None)))
    await observer.read(0)
    assert await _silent(observer, 1000) == {"a": "unknown"}


async def test_the_patterns_of_a_rule_choose_machines() -> None:
    """A machine that the rule does not mean, or that was removed, is not observed."""
    machines = Machines(host("lab-1"), host("lab-2"), host("rack"))
    observer = HostObserver(machines)
    assert set(await _silent(observer, 0, subjects=["lab-*"])) == {"lab-1", "lab-2"}
    machines.all.pop(0)
    assert set(await _silent(observer, 1, subjects=["lab-*", "rack"])) == {"lab-2", "rack"}


async def test_more_machines_than_a_page() -> None:
    """All pages are read."""
    observer = HostObserver(Machines(*(host(f"m{number:04}") for number in range(2_001))))
    assert len(await _silent(observer, 0)) == 2_001


async def test_a_field_beyond_its_limit_is_bad() -> None:
    """A value between the limits is neither, and one that is not known, or is old, is unknown."""
    text = "cpu > 90 clear 80"
    condition = parse(text)
    assert isinstance(condition, Threshold)
    values = {"a": 95.0, "b": 85.0, "c": 80.0, "d": None, "e": 99.0}
    machines = Machines(*(host(name, 0, cpu=value) for name, value in values.items()))
    observer = HostObserver(machines)
    await observer.read(0)
    assert set(_health(observer.fields(rule(), condition)).values()) == {"unknown"}
    machines.all = [host(name, 0 if name == "e" else 1, cpu=value) for name, value in values.items()]
    await observer.read(10)
    found = observer.fields(rule(), condition)
    assert _health(found) == {"a": "bad", "b": "between", "c": "good", "d": "unknown", "e": "unknown"}
    assert (found.found[0].summary, found.found[0].value) == ("a: cpu is 95.0 % (> 90.0 %)", 95.0)
    await observer.read(11 + FRESH_SECONDS)
    assert set(_health(observer.fields(rule(), condition)).values()) == {"unknown"}


def test_the_hottest_sensor_is_the_temperature() -> None:
    """A sensor can be named; a machine without sensors has no temperature."""
    latest = host("a", temperatures={"cpu 0": 50.0, "nvme": 70.0}).latest
    assert latest is not None
    assert (field_of(latest, "temperature"), field_of(latest, "temperature.nvme")) == (70.0, 70.0)
    assert field_of(latest, "temperature.gpu") is None
    cold = host("a").latest
    assert cold is not None and field_of(cold, "temperature") is None


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [("cpu", 97.25, "97.2 %"), ("mem", 8192.0, "8,192 MB"), ("load", 4.5, "4.5"), ("temperature", 85.0, "85 °C")],
)
def test_an_amount_has_its_unit(field: str, value: float, text: str) -> None:
    """People read the unit in which the figure is stored."""
    assert amount(field, value) == text


def test_a_duration_is_written_as_it_is_read() -> None:
    """The largest whole unit is taken."""
    assert [duration(seconds) for seconds in (90.0, 300.0, 7200.0, 86_400.0)] == ["90s", "5m", "2h", "1d"]


async def test_a_machine_whose_clock_was_set_back_is_heard() -> None:
    """Its newest sample stays the one from the future for a while; what counts is that samples arrive."""
    machines = Machines(host("a", 0))
    observer = HostObserver(machines)
    await observer.read(0)
    machines.all = [host("a", 300)]
    await observer.read(10)
    machines.heard = {"a"}
    assert await _silent_within(observer, 80) == {"a": "good"}
    machines.heard = set()
    assert await _silent_within(observer, 130) == {"a": "good"}
    assert await _silent_within(observer, 140) == {"a": "bad"}


async def test_silence_counts_anew_after_an_interruption() -> None:
    """While the database was away no machine could be heard, so none is silent, and none counts as heard either."""
    observer = HostObserver(Machines(host("a", 0)))
    await observer.read(0)
    await observer.read(600)
    observer.interrupted()
    assert await _silent(observer, 659) == {"a": "unknown"}
    assert await _silent(observer, 660) == {"a": "bad"}


async def _silent_within(observer: HostObserver, now: float) -> dict[str, str]:
    condition = parse("silent for 60s")
    assert isinstance(condition, Silent)
    await observer.read(now, [condition.seconds])
    return _health(observer.silent(rule(condition="silent for 60s"), condition))
