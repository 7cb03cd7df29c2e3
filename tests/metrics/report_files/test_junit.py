"""JUnit XML in the dialects of its writers, and with their faults."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import xml_elements
from smartmob.metrics.report_files.junit import JUnitReport, looks_like
from smartmob.metrics.report_files.report import CaseOutcome
from tests.metrics.report_files.telling import told

FOLDER = Path(__file__).parent / "junit"
INPUTS = sorted(path.name for path in FOLDER.glob("*.xml"))


@pytest.mark.parametrize("name", INPUTS)
def test_a_dialect_is_read_as_its_author_meant_it(name: str) -> None:
    """Each input of the folder gives the cases and remarks of the file beside it, also when it is read again."""
    path = FOLDER / name
    report = JUnitReport(path)
    expected = path.with_suffix(".expected").read_text(encoding="utf-8")
    assert told(report) == expected
    assert told(report) == expected
    assert looks_like(path.read_bytes()[:65536])


ENCODED = (
    '<?xml version="1.0" encoding="{}"?>\n<testsuite name="s"><testcase name="{}" classname="c" time="1"/></testsuite>'
)


@pytest.mark.parametrize(
    ("encoding", "declared", "name"),
    [
        ("utf-8-sig", "UTF-8", "zażółć"),
        ("utf-16", "UTF-16", "zażółć"),
        ("utf-16-le", "utf-16", "zażółć"),
        ("utf-16-be", "utf-16", "zażółć"),
        ("utf-16", "utf-8", "zażółć"),
        ("utf-32", "utf-32", "zażółć"),
        ("utf-8", "utf-16", "zażółć"),
        ("utf-8", "us-ascii", "zażółć"),
        ("gbk", "GBK", "测试"),
        ("gb18030", "gb2312", "测试鎔"),
        ("shift_jis", "Shift_JIS", "テスト"),
        ("latin-1", "ISO-8859-1", "müde"),
        ("cp1252", "windows-1252", "“müde”"),
        ("koi8-r", "koi8-r", "тест"),
    ],
)
def test_a_name_is_read_in_the_encoding_of_its_file(tmp_path: Path, encoding: str, declared: str, name: str) -> None:
    """A byte order mark or the bytes decide between UTF-8 and UTF-16, and the declaration among the others."""
    path = tmp_path / "report.xml"
    path.write_bytes(ENCODED.format(declared, name).encode(encoding))
    report = JUnitReport(path)
    assert [case.variant for case in report.cases()] == [name]
    assert report.header.remarks == []
    assert looks_like(path.read_bytes())


def test_bytes_that_are_not_of_the_encoding_do_not_refuse_a_file(tmp_path: Path) -> None:
    """In output they are skipped; in a name they are shown, remarked, and keep two tests apart."""
    path = tmp_path / "report.xml"
    path.write_bytes(
        b'<testsuite name="s"><testcase name="z\xe9" time="1"/><testcase name="z\xe8" time="1"/>'
        b'<testcase name="plain" time="1"><system-out>\xff\xfe\x80</system-out></testcase></testsuite>'
    )
    cases = list(JUnitReport(path).cases())
    assert [case.variant for case in cases] == [r"z\xe9", r"z\xe8", "plain"]
    assert [[remark.kind for remark in case.remarks] for case in cases] == [
        ["characters of a name"],
        ["characters of a name"],
        [],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("plain text", "contains no XML element"),
        ("<html><body/></html>", "is not JUnit XML: it begins with <html>"),
        ('<testsuites xmlns="urn:check"><suite><test result="success"/></suite></testsuites>', "is not JUnit XML"),
        ("<testsuite>\n<testcase>\n</testsuite>", "line 3, column 3: not well-formed XML (mismatched tag)"),
        (
            '<testsuite>\n<testcase name="a<b"/></testsuite>',
            "line 2, column 18: not well-formed XML (a character such as < is not escaped)",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]>\n<testsuite/>', "line 1: it declares the entity 'b'"),
        ('<!DOCTYPE a [<!ENTITY % b SYSTEM "file:///etc/passwd"> %b;]><testsuite/>', "declares the entity"),
        ("<testsuite>" * 201, "nested deeper than 200 levels"),
        ("<testsuite", "ends before its first XML element"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    """It names the line of the file and the reason; the name of the file is added by the command."""
    path = tmp_path / "report.xml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        list(JUnitReport(path).cases())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    """The error of the system is part of the message."""
    with pytest.raises(InvalidInput, match="it cannot be read: No such file"):
        list(JUnitReport(tmp_path / "none.xml").cases())


@pytest.mark.parametrize("name", ["surefire.xml", "googletest.xml", "illegal-characters.xml", "text-around.xml"])
def test_a_file_that_was_cut_anywhere_is_never_silently_half(tmp_path: Path, name: str) -> None:
    """Each beginning of a file is refused, or has a remark, or has all cases."""
    content = (FOLDER / name).read_bytes()
    path = tmp_path / "report.xml"
    whole = [case.variant for case in JUnitReport(FOLDER / name).cases()]
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        report = JUnitReport(path)
        try:
            names = [case.variant for case in report.cases()]
        except InvalidInput:
            continue
        kinds = {remark.kind for remark in report.header.remarks}
        documents = content.count(b"<?xml") > 1
        assert names == whole or "truncated file" in kinds or documents
        assert whole[: len(names)] == names


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\n\n  <testsuite>", True),
        (b'<?xml version="1.0"?><!-- <html> --><!DOCTYPE testsuites [<!ELEMENT a ANY>]><testsuites', True),
        ("\ufeff<testsuites/>".encode("utf-16-le"), True),
        ("<testsuites/>".encode("utf-16-be"), True),
        (b"log line\n<testsuites>", True),
        (b'<j:testsuites xmlns:j="x">', True),
        (b"<results><testsuite name='a'>", True),
        (b"<TestRun>", False),
        (b"<html><body>", False),
        (b'{"benchmarks": "<testsuite>"}', False),
        (b"# Reports\n\n```xml\n<testsuite>\n", False),
        (b"# Reports\n\n    <testsuite>\n", False),
        (b"SQLite format 3\0", False),
        (b"", False),
        (b"\xff\xfe", False),
    ],
)
def test_the_beginning_of_a_file_tells_whether_it_is_junit_xml(head: bytes, expected: bool) -> None:
    """Encodings, comments, document types and text before the root element do not hide it."""
    assert JUnitReport.looks_like(head) is expected


names = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1, max_size=12
)
outcomes = st.sampled_from([None, Failure, Error, Skipped])
cases = st.builds(lambda name, time, outcome: (name, time, outcome), names, st.integers(0, 10**7), outcomes)
suites = st.recursive(
    st.tuples(names, st.lists(cases, max_size=4), st.just([])),
    lambda inner: st.tuples(names, st.lists(cases, max_size=3), st.lists(inner, max_size=3)),
    max_leaves=8,
)


def _suite(content: tuple[str, list[tuple[str, int, type | None]], list[object]]) -> TestSuite:
    name, cases_of_it, inner = content
    suite = TestSuite(name)
    for case_name, time, outcome in cases_of_it:
        case = TestCase(case_name, "c", time / 1000)
        if outcome is not None:
            case.result = [outcome("message")]
        suite.add_testcase(case)
    for each in inner:
        suite.add_testsuite(_suite(each))  # type: ignore[arg-type]  # the strategy is recursive
    return suite


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(suites, max_size=4))
def test_an_independent_reader_counts_the_same(tmp_path: Path, content: list[object]) -> None:
    """The names, outcomes and times of junitparser are those that we give, in any nesting of suites."""
    path = tmp_path / "report.xml"
    written = JUnitXml("all")
    for each in content:
        written.add_testsuite(_suite(each))  # type: ignore[arg-type]  # the strategy is recursive
    written.update_statistics()
    written.write(str(path))

    expected: Counter[tuple[str, str, float]] = Counter()
    for suite in JUnitXml.fromfile(str(path)):
        for case in suite:
            kinds = {type(result) for result in case.result}
            outcome = "failed" if kinds & {Failure, Error} else "skipped" if Skipped in kinds else "passed"
            expected[case.name.strip() or "c", outcome, case.time] += 1
    report = JUnitReport(path)
    ours = Counter((case.variant.strip(), case.outcome.value, case.total_time) for case in report.cases())
    assert ours == expected
    assert report.header.remarks == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300), begin=st.sampled_from([b"", b"<testsuite>", b'<?xml version="1.0"?><testsuites>'])
)
def test_no_bytes_end_in_a_traceback(tmp_path: Path, content: bytes, begin: bytes) -> None:
    """Whatever a file contains, it is read or refused."""
    path = tmp_path / "report.xml"
    path.write_bytes(begin + content)
    try:
        list(JUnitReport(path).cases())
    except InvalidInput:
        pass


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 20 MB, of which one output alone is 10 MB, is read with 2 MB."""
    path = tmp_path / "report.xml"
    output = "<system-out><![CDATA[" + "x" * 2_000 + "]]></system-out>"
    with path.open("w", encoding="utf-8") as file:
        file.write('<testsuites><testsuite name="large" timestamp="2024-05-06T10:00:00Z">')
        for number in range(5_000):
            file.write(f'<testcase classname="a.b.C{number}" name="test_{number}" time="0.01">{output}</testcase>\n')
        file.write("<system-out>")
        for _ in range(10):
            file.write("y" * 1_000_000)
        file.write("</system-out></testsuite></testsuites>")
    assert path.stat().st_size > 20_000_000
    tracemalloc.start()
    try:
        count = sum(case.outcome is CaseOutcome.PASSED for case in JUnitReport(path).cases())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 5_000
    assert peak_bytes < 2_000_000


def test_a_tag_without_an_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attribute longer than the bound is no report."""
    monkeypatch.setattr(xml_elements, "MAX_TAG_BYTES", 1 << 20)
    path = tmp_path / "report.xml"
    path.write_bytes(b'<testsuite name="' + b"x" * 3_000_000 + b'"/>')
    with pytest.raises(InvalidInput, match="a tag or comment is longer than 1 MB"):
        list(JUnitReport(path).cases())
