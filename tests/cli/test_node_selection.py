"""The machines that `--on` selects."""

from __future__ import annotations

import click
import pytest

from smartmob.cli.node_selection import SelectedMachine, Selector, is_address, parse, select
from smartmob.client.http import RestClient
from smartmob.nodes.model import SERVICE_PREFIX

NODES = [
    {"name": "a", "labels": {"gpu": "", "rack": "7"}},
    {"name": "b", "labels": {"rack": "7"}},
    {"name": "c", "labels": {"rack": "8"}},
]


def _selected(text: str) -> str:
    selector = parse(text)
    return "".join(node["name"] for node in NODES if selector.matches(node))


def test_labels_are_joined_by_and() -> None:
    """A label with any value, one with a value, in both spellings; a URL with an equals sign is no label."""
    wanted = {
        "all": "abc", "label=gpu": "a", "label=rack": "abc", "label=rack=7": "ab", "rack=7": "ab",
        "rack=7,label=gpu": "a", "rack=7,rack=8": "", "label=gpu=": "a", "gpu=": "a",
    }  # fmt: skip
    assert {text: _selected(text) for text in wanted} == wanted
    assert parse("a, b").names == ("a", "b")
    assert parse("https://lab:8080/?a=b") == Selector(names=("https://lab:8080/?a=b",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names of machines, separated by commas; it is empty"),
        ("a,a", "'a' is given twice"),
        ("all,a", "`all` cannot be combined"),
        ("rack=7,a", "'a' is not a label, as in label=a"),
        ("=7", "names no label"),
        ("label=", "names no label"),
    ],
)
def test_other_selectors_are_refused(text: str, reason: str) -> None:
    """The error says what was expected."""
    with pytest.raises(click.UsageError, match=reason):
        parse(text)


def test_some_names_can_only_be_addresses() -> None:
    """The service is not asked whether they are nodes."""
    assert [is_address(name) for name in ("a:80", "https://a", "10.0.0.1", "localhost", "::1")] == [True] * 5
    assert [is_address(name) for name in ("rack7", "rack7.lab.example")] == [False] * 2


async def test_another_service_on_the_database_is_named_with_an_at_sign() -> None:
    """It is used through the service that was asked, which knows its address."""
    async with RestClient("http://127.0.0.1:1/lab") as rest:
        found = await select(rest, [f"{SERVICE_PREFIX}rack 2"])
    url = "http://127.0.0.1:1/lab/api/v1/nodes/%40rack%202/service"
    assert (found.machines, found.single) == ((SelectedMachine("@rack 2", url),), True)


async def test_one_machine_with_two_names_is_refused() -> None:
    """Both names are said."""
    async with RestClient("http://127.0.0.1:1") as rest:
        with pytest.raises(click.UsageError, match=r"'10\.0\.0\.1:80' and 'http://10\.0\.0\.1:80' are one machine"):
            await select(rest, ["10.0.0.1:80,http://10.0.0.1:80"])
        with pytest.raises(click.UsageError, match=r"'10\.0\.0\.1:80' is given twice"):
            await select(rest, ["10.0.0.1:80", "10.0.0.1:80"])
