"""Pages of a listing, by number and by cursor."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.http.paging import Page, cursor, links, page, parse, parse_cursor


class TestNumber:
    """The argument `page`."""

    @pytest.mark.parametrize(
        ("text", "number"),
        [("1", 1), ("0", 0), ("7", 7), ("-1", -1), ("-0", 0), ("007", 7), ("123456789012345678", 123456789012345678)],
    )
    def test_a_number_is_parsed(self, text: str, number: int) -> None:
        """A number is parsed as it is."""
        assert parse(text) == number

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "x",
            "1.0",
            "1e3",
            " 1",
            "1 ",
            "+1",
            "--1",
            "-",
            "1_0",
            "٣",
            "²",
            "1,2",
            "0x1",
            "9" * 19,
            "-" + "9" * 19,
            "9" * 5000,
        ],
    )
    def test_other_texts_mean_the_first_page(self, text: str | None) -> None:
        """Texts that are not a number, or larger than any listing, mean the first page."""
        assert parse(text) == 1

    @settings(deadline=None)
    @given(st.text(max_size=25))
    def test_any_text_gives_a_page_number(self, text: str) -> None:
        """Every text gives a number for which a page can be requested."""
        assert -(10**18) < parse(text) < 10**18


class TestPage:
    """The rows of a page."""

    @pytest.mark.parametrize(
        ("wanted", "rows", "size", "expected"),
        [
            (1, 10, 5, Page(1, 5, 0, 2)),
            (2, 10, 5, Page(2, 5, 5, 2)),
            (3, 11, 5, Page(3, 5, 10, 3)),
            (-1, 11, 5, Page(3, 5, 10, 3)),
            (-3, 11, 5, Page(1, 5, 0, 3)),
            (1, 0, 5, Page(1, 5, 0, 1)),
            (-1, 0, 5, Page(1, 5, 0, 1)),
        ],
    )
    def test_pages_count_from_both_ends(self, wanted: int, rows: int, size: int, expected: Page) -> None:
        """Positive numbers count from the start, negative ones from the end."""
        assert page(wanted, rows, size) == expected

    @pytest.mark.parametrize(
        ("wanted", "rows", "said"),
        [
            (0, 10, "there is no page 0: the listing has 2 pages"),
            (3, 10, "there is no page 3: the listing has 2 pages"),
            (-3, 10, "there is no page -3: the listing has 2 pages"),
            (2, 5, "there is no page 2: the listing has 1 page"),
            (2, 0, "there is no page 2: the listing has 1 page"),
        ],
    )
    def test_a_missing_page_is_refused_with_the_number_of_pages(self, wanted: int, rows: int, said: str) -> None:
        """The error names how many pages there are."""
        with pytest.raises(NotFound) as caught:
            page(wanted, rows, 5)

        assert str(caught.value) == said

    @settings(deadline=None)
    @given(st.integers(0, 10**9), st.integers(1, 10_000), st.data())
    def test_each_row_is_on_exactly_one_page(self, rows: int, size: int, data: st.DataObject) -> None:
        """Each row is on exactly one page, counted from either end."""
        total = page(1, rows, size).total
        found = page(data.draw(st.integers(1, total)), rows, size)

        assert (total - 1) * size < max(rows, 1) <= total * size
        assert found.offset == (found.number - 1) * size
        assert page(found.number - total - 1, rows, size) == found
        assert (found.previous is None) == (found.number == 1)
        assert (found.next is None) == (found.number == total)
        if found.next is not None:
            assert page(found.next, rows, size).offset == found.offset + size
            assert page(found.next, rows, size).previous == found.number


class TestLinks:
    """Links to the previous and the next page."""

    @pytest.mark.parametrize(
        ("number", "total", "expected"),
        [
            (1, 1, {"total_page": 1}),
            (1, 3, {"next_url": "/m?page=2", "total_page": 3}),
            (2, 3, {"prev_url": "/m?page=1", "next_url": "/m?page=3", "total_page": 3}),
            (3, 3, {"prev_url": "/m?page=2", "total_page": 3}),
        ],
    )
    def test_a_link_exists_exactly_if_its_page_does(self, number: int, total: int, expected: dict[str, object]) -> None:
        """There is a link exactly if there is such a page."""
        at = Page(number, 5, (number - 1) * 5, total)

        assert links("/m", {}, at, always=False) == expected
        assert links("/m", {}, at, always=True) == {"prev_url": None, "next_url": None} | expected

    @settings(deadline=None)
    @given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), max_size=4))
    @example({"page": "7", "with_tags": "a=b,c&d"})
    def test_links_keep_the_other_arguments(self, query: dict[str, str]) -> None:
        """A link keeps the other arguments of the query, with any characters."""
        found = urlsplit(links("/m", query, Page(2, 5, 5, 3), always=False)["next_url"])

        assert found.path == "/m"
        assert parse_qs(found.query, strict_parsing=True) == {
            name: [value] for name, value in (query | {"page": "3"}).items()
        }


class TestCursor:
    """Cursors: the key of the last row of a page."""

    @settings(deadline=None)
    @given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
    def test_a_cursor_returns_its_key(self, key: list[str]) -> None:
        """A cursor contains its key, with any characters, and needs no escaping in a URL."""
        text = cursor(*key)

        assert parse_cursor(text, len(key)) == key
        assert text.replace("-", "").replace("_", "").isalnum()

    @pytest.mark.parametrize("text", [cursor("a"), cursor("a", "b", "c"), cursor()])
    def test_a_cursor_of_another_listing_is_refused(self, text: str) -> None:
        """A cursor with more or fewer parts is refused."""
        with pytest.raises(InvalidInput):
            parse_cursor(text, 2)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x",
            "====",
            "bnVsbA",
            "MQ",
            "e30",
            "WzFd",
            "W251bGwsICJhIl0",
            "/w",
            "_w",
            "Ww",
            "ü",
            "�",
            "W10=",
            "a b",
            "WyJh\nIiwiYiJd",
            "Wy" * 40000,
        ],
    )
    def test_a_foreign_text_is_refused_with_the_argument(self, text: str) -> None:
        """A text that is not a cursor is refused with the name of the argument."""
        with pytest.raises(InvalidInput) as caught:
            parse_cursor(text, 2)

        assert caught.value.faults[0].where == "before"
        assert "next_url" in str(caught.value)

    def test_deep_nesting_is_refused(self) -> None:
        """A text that would exhaust the stack is refused."""
        with pytest.raises(InvalidInput):
            parse_cursor(base64.urlsafe_b64encode(b"[" * 100_000).decode(), 2)

    @settings(deadline=None)
    @given(st.text(max_size=40), st.integers(1, 3))
    def test_any_text_is_a_key_or_refused(self, text: str, parts: int) -> None:
        """Every text is a key of the right length or refused."""
        try:
            assert len(parse_cursor(text, parts)) == parts
        except InvalidInput:
            pass
