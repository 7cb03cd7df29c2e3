"""Names of tests with the class of a method."""

from __future__ import annotations

import pytest

from smartmob.case_names import class_of, merged_names, variant_with_class


@pytest.mark.parametrize(
    ("location", "item", "variant", "shown"),
    [
        ("tests/test_a.py", "test_ok", "test_ok", "test_ok"),
        ("tests/test_a.py::TestIn::test_ok", "test_ok", "test_ok", "TestIn::test_ok"),
        ("tests/test_a.py::TestIn::test_ok[a::b]", "test_ok", "test_ok[a::b]", "TestIn::test_ok[a::b]"),
        ("tests/test_a.py::TestOut::TestIn::test_ok", "test_ok", "", "TestOut::TestIn::test_ok"),
        ("tests/test_a.py::TestIn", "test_ok", "test_ok[1]", "TestIn::test_ok[1]"),
        ("tests/test_a.py::TestIn::test_ok", "test_ok", "TestIn::test_ok", "TestIn::test_ok"),
        ("tests/test_a.py::TestIn::test_ok", "test_ok", "TestIn.test_ok", "TestIn.test_ok"),
        ("tests/test_a.py::test_ok", "test_ok", "test_ok", "test_ok"),
        (r"C:\tests\test_a.py::TestIn::test_ok", "test_ok", "test_ok", "TestIn::test_ok"),
        ("src/lib.rs::tests", "adds", "adds", "adds"),
        ("", "adds", "", ""),
    ],
)
def test_the_class_is_shown_where_the_client_sends_it(location: str, item: str, variant: str, shown: str) -> None:
    """A location of pytest has the class; a variant that has it already is left, and other locations have none."""
    assert variant_with_class(location, item, variant) == shown


def test_a_function_has_no_class() -> None:
    """The last part of a location may be the test itself."""
    assert class_of("test_a.py::test_ok", "test_ok", "test_ok[1]") == ""


def _metric(
    session: str = "s", variant: str = "test_ok", location: str = "test_a.py", **changes: str
) -> dict[str, str]:
    names = {"item_path": "test_a", "item": "test_ok", "item_variant": variant, "item_fs_loc": location}
    return {"session_h": session, "kind": "function", **names, **changes}


def test_merged_names_are_told() -> None:
    """Two methods of one name in a session are told with their name and number; those of two sessions are not."""
    assert merged_names([_metric(), _metric("t"), _metric(variant="test_ok[1]")]) == ""
    said = merged_names([_metric(), _metric(), _metric("t")])
    assert said.startswith(
        "1 test name was executed several times in one session, for example test_ok of test_a (2 times): "
    )
    assert "pytest-monitor sends without their class" in said
    apart = [_metric(location="test_a.py::TestA::test_ok"), _metric(location="test_a.py::TestB::test_ok")]
    assert merged_names(apart) == ""
    assert merged_names([_metric(kind="module"), _metric(kind="module")]) == ""
    assert merged_names([_metric(), _metric(), _metric(item_path="b"), _metric(item_path="b")]).startswith(
        "2 test names were"
    )
