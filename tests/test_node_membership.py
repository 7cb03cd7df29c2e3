"""The settings with which a service joins another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smartmob import node_membership
from smartmob.errors import SettingsError
from smartmob.feature_settings import JoinSettings
from smartmob.settings import Settings


def test_without_an_address_nothing_is_joined() -> None:
    """It is the default."""
    assert node_membership.membership(Settings()) is None


def test_labels_without_a_value_have_an_empty_one(tmp_path: Path) -> None:
    """The token is read from its file, and the key lies in the data directory."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    join = JoinSettings(url="https://lab:8080", name="rack7", token_file=token, labels=("gpu", "rack=7", "a=b=c"))
    member = node_membership.membership(replace(Settings(), data_dir=tmp_path, join=join))
    assert member is not None
    assert (member.name, member.token, member.key_file) == ("rack7", "secret", tmp_path / "node.json")
    assert member.labels == {"gpu": "", "rack": "7", "a": "b=c"}


@pytest.mark.parametrize("url", ["lab:8080", "ftp://lab", "", "//lab"])
def test_an_address_without_a_scheme_is_refused(url: str) -> None:
    """The error shows what is expected."""
    with pytest.raises(SettingsError, match="expected an address such as https://lab:8080"):
        node_membership.membership(replace(Settings(), join=JoinSettings(url=url)))
