"""The settings of each feature."""

from __future__ import annotations

import dataclasses

from smartmob import feature_settings
from smartmob.options import options

GROUPS = [value for value in vars(feature_settings).values() if dataclasses.is_dataclass(value)]


def test_each_setting_is_an_option() -> None:
    """A field without a help text or a flag could not be set."""
    for group in GROUPS:
        found = options(group)  # type: ignore[arg-type]  # the filter above cannot tell classes from instances
        assert {option.attribute for option in found} == {field.name for field in dataclasses.fields(group)}
        assert all(option.help for option in found)
