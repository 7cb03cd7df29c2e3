"""Names of tests with parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics.report_files.junit_names import without_parameters


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("test_a", "test_a"),
        ("test_a[1-b]", "test_a"),
        ("test_a[[b]]", "test_a"),
        ("[1] a", "[1] a"),
        ("[a]", "[a]"),
        ("adds[1] a, b", "adds"),
        ("adds(int)[1]", "adds"),
        ("adds(int)[1] (x)", "adds"),
        ("test[line\nbreak]", "test"),
        ("TestAdds/[x]", "TestAdds"),
        ("adds(int, String)[2] 3, x", "adds"),
        ("Ns.Cart.Adds(x: 1)", "Ns.Cart.Adds"),
        ("Adds/0", "Adds"),
        ("TestAdds/one/two", "TestAdds"),
        ("adds{int, String}[1]", "adds"),
        ("adds fruit [a: 1, b: [2], #0]", "adds fruit"),
        ("adds fruit [a: 1, b: 2, #0]", "adds fruit"),
        ('testAdds with data set "one" (1, 2)', "testAdds"),
        ("Adds fruit -- @1.2 sizes", "Adds fruit"),
        ("Adds fruit - Example #1.2", "Adds fruit"),
        ("test_adds (fruit='apple')", "test_adds"),
        ("returns [1, 2]", "returns [1, 2]"),
        ("vector [begin] of it", "vector [begin] of it"),
        ("adds (twice)", "adds (twice)"),
        ("GET /users/1", "GET /users/1"),
        ("a/b", "a/b"),
    ],
)
def test_parameters_are_taken_off_a_name(name: str, item: str) -> None:
    """Prose with brackets stays whole."""
    assert without_parameters(name) == item


@given(st.text(min_size=1, max_size=60))
def test_a_name_never_becomes_empty(name: str) -> None:
    """Each test has an item."""
    assert without_parameters(name)


def test_a_long_name_is_read_in_one_pass() -> None:
    """Patterns do not try combinations of brackets."""
    for text in ("[" * 10_000, "a(" * 5_000, "a[1]" * 3_000 + "x", "(" * 10_000 + ")" * 9_999, "a[" * 500_000):
        assert without_parameters(text)
