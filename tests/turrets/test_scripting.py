"""What scripts import."""

from __future__ import annotations

import pytest

from smartmob.turrets.scripting import BaseTransaction, CustomTimer


class TestTransaction:
    """The class that scripts derive from."""

    def test_it_has_what_scripts_use(self) -> None:
        """Configuration, context and timers are there; the steps do nothing."""
        made = BaseTransaction({"a": 1}, {"b": 2})
        assert (made.config, made.context, made.custom_timers) == ({"a": 1}, {"b": 2}, {})
        assert (made.setup(), made.run(), made.tear_down()) == (None, None, None)

    def test_it_can_be_made_by_hand(self) -> None:
        """`Transaction(None)` is what the template of OCT does to try a script."""
        assert BaseTransaction(None).context == {}


class TestTimer:
    """Parts of a transaction."""

    def test_it_notes_the_time(self) -> None:
        """Under its name, also when the part fails."""
        made = BaseTransaction(None)
        with CustomTimer(made, "good"):
            pass
        with pytest.raises(ZeroDivisionError), CustomTimer(made, "bad"):
            raise ZeroDivisionError
        assert set(made.custom_timers) == {"good", "bad"}
        assert all(value >= 0 for value in made.custom_timers.values())

    def test_any_object_will_do(self) -> None:
        """A class that did not call its parent gets the timers."""

        class Bare:
            custom_timers: dict[str, float]

        made = Bare()
        with CustomTimer(made, "a"):
            pass
        assert list(made.custom_timers) == ["a"]
