"""Tables of cases that are one test."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.folding import folded

parametrize = pytest.mark.parametrize


@parametrize("number", [1, 2, 3])
def test_a_table(number: int) -> None:
    """A table as any other; `test_a_table_is_one_test_of_a_worker` looks at it."""
    assert number in {1, 2, 3}


def test_a_table_is_one_test_of_a_worker(request: pytest.FixtureRequest) -> None:
    """In a run with workers it is one test; otherwise each case has a name of its own."""
    names = [item.name for item in request.session.items if item.path == request.path and "a_table[" in item.name]
    assert len(names) == (0 if hasattr(request.config, "workerinput") else 3)


def test_all_cases_are_tried_and_each_failed_one_is_shown() -> None:
    """Two tables make a case of each pair of rows; all errors are raised together, each with its case."""
    seen = []

    @parametrize(("first", "second"), [(1, "a"), pytest.param(2, "b", id="two")])
    @parametrize("third", (True, False), ids=str)
    def check(first: int, second: str, third: bool) -> None:
        seen.append((first, second, third))
        assert third, "not the third"

    run = folded(check, None)

    assert run is not None
    with pytest.raises(ExceptionGroup, match="2 cases failed") as caught:
        run()
    assert sorted(seen) == [(1, "a", False), (1, "a", True), (2, "b", False), (2, "b", True)]
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["The case: {'first': 1, 'second': 'a', 'third': False}"],
        ["The case: {'first': 2, 'second': 'b', 'third': False}"],
    ]


def test_a_single_failed_case_is_raised_as_it_is() -> None:
    """Its error has the line of the assertion, and failures of pytest count as well."""

    @parametrize("number", [1, 2])
    def check(number: int) -> None:
        with pytest.raises(ZeroDivisionError):
            1 / (number - 1)

    run = folded(check, None)

    assert run is not None
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        run()


def test_each_case_of_a_class_has_an_instance_of_its_own() -> None:
    """As with tests that are not folded, nothing that a case sets is there in the next one."""

    class Table:
        count = 0

        @parametrize("number", [1, 2])
        def test(self, number: int) -> None:
            self.count += number
            assert self.count == number

    run = folded(Table.__dict__["test"], Table)

    assert run is not None
    run()


def test_other_tests_are_not_folded() -> None:
    """They use fixtures, are asynchronous or properties, have other marks or no cases, or are no functions."""

    @parametrize("number", [1])
    def with_fixture(number: int, tmp_path: Any) -> None: ...

    @parametrize("number", [1])
    async def asynchronous(number: int) -> None: ...

    @parametrize("number", [1])
    @hypothesis.given(st.integers())
    def with_property(number: int, _: int) -> None: ...

    @parametrize("number", [1])
    @pytest.mark.timeout(3)
    def with_mark(number: int) -> None: ...

    @parametrize("number", [pytest.param(1, marks=pytest.mark.timeout(3))])
    def with_marked_case(number: int) -> None: ...

    @parametrize("number", [])
    def without_cases(number: int) -> None: ...

    @parametrize("number", [1], indirect=True)
    def indirect(number: int) -> None: ...

    def without_table() -> None: ...

    others = [with_fixture, asynchronous, with_property, with_mark, with_marked_case, without_cases, indirect]
    for test in (*others, without_table, staticmethod(test_a_table), parametrize):
        assert folded(test, None) is None
