"""Results of JMeter as XML."""

from __future__ import annotations

from io import BytesIO

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files.jmeter_csv import CONTROLLERS
from smartmob.turrets.result_files.jmeter_xml import SUB_RESULTS, read
from smartmob.turrets.result_files.load_sample import AGGREGATED, CUT_OFF, NOT_READ, FileAccount
from tests.turrets.result_files.read_samples import samples_of

START = 1_700_000_000_000
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<testResults version="1.2">\n'


def _sample(label: str, inner: str = "", *, ok: bool = True, message: str = "OK", element: str = "httpSample") -> str:
    return (
        f'<{element} t="20" ts="{START}" s="{str(ok).lower()}" lb="{label}" rc="{200 if ok else 500}" rm="{message}">'
        f"{inner}</{element}>\n"
    )


def test_parts_of_requests_and_controllers_are_timers() -> None:
    """Redirects are parts of their request, requests are no parts of their controller."""
    page = _sample("page", _sample("page-0") + _sample("page-1"))
    whole = _sample("all", page + _sample("other"), message="Number of samples in transaction : 2, …", element="sample")
    samples, account = samples_of(HEAD + whole + "</testResults>")
    assert [sample.timer for sample in samples if sample.counted] == ["page", "other"]
    assert [sample.timer for sample in samples if not sample.counted] == ["page-0", "page-1", "all"]
    assert (account.left_out.count(CONTROLLERS), account.left_out.count(SUB_RESULTS)) == (1, 2)


def test_the_message_of_an_assertion_is_the_error() -> None:
    """Its text is unescaped; the first one counts."""
    asserted = "".join(
        f"<assertionResult><failure>true</failure><failureMessage>{text}</failureMessage></assertionResult>"
        for text in ("a &lt; b", "second")
    )
    (sample,), _ = samples_of(HEAD + _sample("x", asserted, ok=False) + "</testResults>")
    assert (sample.error, sample.code) == ("a < b", "500")


def test_the_names_of_the_first_version() -> None:
    """JMeter 2.0 wrote whole words."""
    text = f'<testResults><sampleResult time="20" timeStamp="{START}" success="false" label="x" responseCode="404" '
    (sample,), _ = samples_of(text + 'responseMessage="Not Found"/></testResults>')
    assert (sample.timer, sample.seconds, sample.error, sample.code) == ("x", 0.02, "Not Found", "404")


def test_a_file_that_is_cut_off_is_read_up_to_there() -> None:
    """JMeter that was killed writes no end."""
    samples, account = samples_of(HEAD + _sample("a") + '<httpSample t="1" ts="')
    assert [sample.timer for sample in samples] == ["a"]
    assert account.remarks.count(CUT_OFF) == 1


@pytest.mark.parametrize("character", ["&#x0;", "&#27;", "\x01", "&#xFFFE;"])
def test_characters_that_xml_cannot_have_are_replaced(character: str) -> None:
    """JMeter writes those of answers as they are."""
    (sample,), _ = samples_of(HEAD + _sample(f"a{character}b") + "</testResults>")
    assert sample.timer == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"<!DOCTYPE x [<!ENTITY a 'b'>]>{HEAD.partition(chr(10))[2]}</testResults>", "document type"),
        (HEAD + "<a></b></testResults>", "line 3"),
        (HEAD + "<a>" * 200, "levels"),
        (HEAD + "</testResults>\n" + HEAD + "</testResults>", r"after </testResults> in line \d+: .* divide it there"),
    ],
)
def test_hostile_and_broken_files_are_refused(text: str, reason: str) -> None:
    """The reason names the place."""
    with pytest.raises(InvalidInput, match=reason):
        list(read(BytesIO(text.encode()), FileAccount()))


def test_the_number_of_users_is_that_of_all_threads() -> None:
    """The attribute `na` of a sample has it."""
    account = samples_of(HEAD + _sample("a").replace("<httpSample ", '<httpSample ng="1" na="4" ') + "</testResults>")[
        1
    ]
    assert account.users.since(START / 1000) == [(0.0, 4)]


def test_elements_of_other_samplers_are_told() -> None:
    """Some plugins write objects in place of samples."""
    samples, account = samples_of('<testResults version="1.2"><a.b.Other><label>x</label></a.b.Other></testResults>')
    assert samples == []
    assert [(kind, example) for kind, _, example in account.remarks.items()] == [(NOT_READ, "an element a.b.Other")]


def test_samples_of_several_requests_are_refused() -> None:
    """The attribute `sc` counts them."""
    several = _sample("a").replace("<httpSample ", '<httpSample sc="10" ec="2" ')
    samples, account = samples_of(HEAD + several + _sample("b") + "</testResults>")
    assert [sample.timer for sample in samples] == ["b"]
    assert [(kind, example) for kind, _, example in account.remarks.items()] == [(AGGREGATED, "a")]
