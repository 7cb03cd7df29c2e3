"""Suites of JUnit XML and their inheritance."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.metrics.report_files.junit_suites import MAX_PROPERTIES, Properties, Suite, location, writes_utc
from smartmob.metrics.report_files.report import UNKNOWN_MACHINE, CaseOutcome


def test_an_inner_suite_inherits_until_it_says_something_else() -> None:
    """Name, host, file, clock and properties come from the next outer suite that has them."""
    outer = Suite().inner("testsuite", {"name": "outer", "hostname": "rack7", "file": "a.py:3"}, 1)
    outer.begin(datetime(2024, 5, 6, tzinfo=UTC))
    outer.set_property("os.arch", "amd64")
    inner = outer.inner("testsuite", {"name": "", "hostname": "rack8"}, 2)
    assert (inner.name, inner.host, inner.file, inner.clock, inner.depth) == ("outer", "rack8", "a.py", outer.clock, 2)
    assert (inner.machine().node, inner.machine().machine_arch) == ("rack8", "amd64")
    assert Suite().machine() is UNKNOWN_MACHINE


def test_the_clock_goes_on_through_inner_suites() -> None:
    """The case after an inner suite starts when that suite ended."""
    outer = Suite().inner("testsuite", {}, 1)
    outer.begin(datetime(2024, 5, 6, tzinfo=UTC))
    inner = outer.inner("testsuite", {}, 2)
    inner.count(CaseOutcome.PASSED, inner.clock, 2.0)
    outer.add(inner)
    assert outer.clock == datetime(2024, 5, 6, 0, 0, 2, tzinfo=UTC)


def test_the_end_of_the_calendar_stops_the_clock() -> None:
    """No error comes from adding a duration to the last moment."""
    suite = Suite()
    suite.count(CaseOutcome.PASSED, datetime.max, 1.0)
    assert suite.clock is None


def test_ant_writes_utc() -> None:
    """Its property gives a zone to a start without one."""
    suite = Suite()
    suite.begin(datetime(2024, 5, 6))
    suite.set_property("ant.version", "1.10")
    assert suite.clock == datetime(2024, 5, 6, tzinfo=UTC)
    assert writes_utc({"name": "jest tests"})
    assert not writes_utc({"name": "tests"})


def test_properties_of_a_run_become_tags() -> None:
    """A dump of a JVM's properties, secrets and values that differ between suites are left out."""
    properties = Properties()
    for name, value in [
        ("runner", "large"),
        ("shard", "1"),
        ("shard", "2"),
        ("db.password", "x"),
        ("git.commit", "0" * 40),
    ]:
        properties.add(name, value)
    assert properties.tags() == {"runner": "large", "git.commit": "0" * 40}
    assert properties.scm_ref() == "0" * 40
    properties.add("java.home", "/opt/java")
    assert properties.tags() == {}


def test_the_number_of_properties_is_bounded() -> None:
    """More of them are left out."""
    properties, suite = Properties(), Suite()
    for number in range(MAX_PROPERTIES + 5):
        properties.add(f"p{number}", "x")
        suite.set_property(f"p{number}", "x")
    assert len(properties.tags()) == len(suite.properties) == MAX_PROPERTIES


def test_a_location_has_no_line() -> None:
    """Lines change with each edit, so that they do not identify a test."""
    assert location({"file": "a.exs:12"}) == "a.exs"
    assert location({"file": "C:\\a.cs:12:3"}) == "C:\\a.cs"
    assert location({"filepath": "b.py"}) == "b.py"
    assert location({}) == ""
