"""The names that test scripts import."""

from __future__ import annotations

import pytest

from smartmob.turrets.scripting import BaseTransaction, CustomTimer


class TestTransaction:
    """The class that scripts derive from."""

    def test_a_transaction_has_config_context_and_timers(self) -> None:
        """Its steps do nothing by themselves."""
        made = BaseTransaction({"a": 1}, {"b": 2})
        assert (made.config, made.context, made.custom_timers) == ({"a": 1}, {"b": 2}, {})
        assert (made.setup(), made.run(), made.tear_down()) == (None, None, None)

    def test_a_transaction_can_be_made_without_a_configuration(self) -> None:
        """The template of OCT tries a script with `Transaction(None)`."""
        assert BaseTransaction(None).context == {}


class TestTimer:
    """Parts of a transaction."""

    def test_a_timer_stores_its_time_also_after_an_error(self) -> None:
        """The time is stored under its name."""
        made = BaseTransaction(None)
        with CustomTimer(made, "good"):
            pass
        with pytest.raises(ZeroDivisionError), CustomTimer(made, "bad"):
            raise ZeroDivisionError
        assert set(made.custom_timers) == {"good", "bad"}
        assert all(value >= 0 for value in made.custom_timers.values())

    def test_a_timer_adds_the_attribute_that_is_missing(self) -> None:
        """A class may not have called its parent."""

        class Bare:
            custom_timers: dict[str, float]

        made = Bare()
        with CustomTimer(made, "a"):
            pass
        assert list(made.custom_timers) == ["a"]
