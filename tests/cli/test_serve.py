"""The options of `smartmob serve`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from smartmob.cli.serve import command
from smartmob.options import Option
from smartmob.settings import OPTIONS


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_setting_is_a_flag_with_its_help(option: Option) -> None:
    """Each setting has an option, whose help describes it."""
    (parameter,) = [parameter for parameter in command.params if parameter.name == option.name]
    assert option.flag in parameter.opts
    assert option.help in (getattr(parameter, "help", None) or "")


def test_no_secret_is_a_flag() -> None:
    """The token stands in no listing of processes: there is no option that takes it."""
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert "--token" not in flags
    assert "--token-file" in flags


def test_a_bad_value_is_named_with_its_flag() -> None:
    """So that it can be found among many."""
    result = CliRunner().invoke(command, ["--metrics-page-size", "0"])
    assert "--metrics-page-size: expected from 1 to 10000, got 0" in str(result.exception)
