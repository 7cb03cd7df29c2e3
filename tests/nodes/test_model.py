"""Names, labels, keys, and the choice of nodes by labels."""

from __future__ import annotations

import msgspec
import pytest

from smartmob.nodes.model import KEY_PREFIX, JoinRequest, digest, make_key, matches


@pytest.mark.parametrize("name", ["a", "rack7", "r.a-c_k", "a" * 64])
def test_a_name_is_like_that_of_a_host(name: str) -> None:
    """Letters, digits, dots, underscores and hyphens, up to 64 of them."""
    assert msgspec.convert({"name": name}, JoinRequest).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a/b", "a b", "a\n", "a" * 65, "ä", "..", "."])
def test_a_name_that_does_not_fit_into_an_address_is_refused(name: str) -> None:
    """It is refused before anything is stored."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name}, JoinRequest)


@pytest.mark.parametrize(
    "labels",
    [{"a b": ""}, {"a": "x\n"}, {"a\n": ""}, {"": "x"}, {"a": "x y"}, {"a": "x" * 64}, {str(n): "" for n in range(65)}],
)
def test_labels_that_no_selector_could_name_are_refused(labels: dict[str, str]) -> None:
    """They have the characters that Kubernetes allows, and a bound."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a", "labels": labels}, JoinRequest)


def test_a_key_is_random_and_stored_as_a_digest() -> None:
    """Two keys differ, and neither is its digest."""
    first, second = make_key(), make_key()
    assert first != second
    assert first.startswith(KEY_PREFIX)
    assert digest(first) == digest(first) != digest(second)
    assert digest("\udc80")  # a header that is not UTF-8 has a digest, too


@pytest.mark.parametrize(
    ("wanted", "found"),
    [({}, True), ({"gpu": None}, True), ({"rack": "7"}, True), ({"rack": "8"}, False), ({"cpu": None}, False)],
)
def test_labels_match_by_key_and_value(wanted: dict[str, str | None], found: bool) -> None:
    """A wanted label without a value stands for any value."""
    assert matches({"gpu": "", "rack": "7"}, wanted) is found
