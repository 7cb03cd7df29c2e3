"""The ids of tests."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics import model


class TestItemId:
    """The ids of tests."""

    @given(st.lists(st.tuples(*[st.text(max_size=3)] * 6), min_size=2, max_size=2, unique=True))
    def test_different_tests_have_different_ids(self, keys: list[Any]) -> None:
        """Ids differ even if only the boundaries between the texts differ."""
        assert model.item_id(keys[0]) != model.item_id(keys[1])

    def test_the_id_of_a_test_never_changes(self) -> None:
        """Ids are stored, so the same texts must give the same id in every release."""
        assert str(model.item_id(("p", "i", "v", "f", "function", ""))) == "b955a1c4-8ff7-e964-665c-35463e18c92c"
