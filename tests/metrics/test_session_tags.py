"""The tags of a session."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smartmob.metrics import session_tags


class TestTags:
    """The tags of a session's description."""

    @given(st.dictionaries(st.text(), st.text()))
    def test_an_object_of_texts_stays_as_it_is(self, description: dict[str, str]) -> None:
        """Names, values and their order are kept."""
        assert list(session_tags.tags_of(description).items()) == list(description.items())

    def test_other_values_become_their_json(self) -> None:
        """The value of a tag is always a text."""
        assert session_tags.tags_of({"a": 1, "b": None, "c": {"d": [True]}}) == {
            "a": "1",
            "b": "null",
            "c": '{"d":[true]}',
        }


def test_a_deeply_nested_description_is_a_text() -> None:
    """A text that is too deep for the JSON parser is stored as a text."""
    text = "[" * 20_000
    assert session_tags.tags_of(text) == {"description": text}
