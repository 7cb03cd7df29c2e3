"""Loading test scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartmob.turrets import scripting
from smartmob.turrets.turret.script import ScriptError, describe, load

OCT = """
from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer

class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super(Transaction, self).__init__(config, context)

    def run(self):
        with CustomTimer(self, 'a timer'):
            pass
"""


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    """Leave the modules and their places as they were, and begin without those of an earlier test."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "oct_turrets"]:
        del sys.modules[name]
    modules, places = dict(sys.modules), list(sys.path)
    yield
    sys.path[:] = places
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


def _script(folder: Path, text: str, name: str = "v_user.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_script_of_oct_works(tmp_path: Path) -> None:
    """It imports its base class and timer under the old names."""
    made = load(_script(tmp_path, OCT)).transaction({"a": 1}, {"b": 2})
    made.run()
    assert isinstance(made, scripting.BaseTransaction)
    assert (made.config, made.context, list(made.custom_timers)) == ({"a": 1}, {"b": 2}, ["a timer"])


def test_an_installed_oct_is_used(tmp_path: Path) -> None:
    """Scripts get the original package if it can be imported."""
    _script(tmp_path, "", "oct_turrets/__init__.py")
    _script(tmp_path, "class BaseTransaction:\n    original = True\n", "oct_turrets/base.py")
    _script(tmp_path, "CustomTimer = None\n", "oct_turrets/tools.py")
    sys.path.insert(0, str(tmp_path))
    made = load(_script(tmp_path, OCT.replace("super(Transaction, self).__init__(config, context)", "pass")))
    assert made.transaction({}, {}).original


def test_modules_beside_the_script_can_be_imported(tmp_path: Path) -> None:
    """Those of its own folder, and of the package's."""
    _script(tmp_path / "scripts", "BESIDE = 1\n", "beside_the_script.py")
    _script(tmp_path, "ABOVE = 2\n", "above_the_script.py")
    text = "import beside_the_script, above_the_script\nclass Transaction:\n    def run(self): pass\n"
    load(_script(tmp_path / "scripts", text), (tmp_path,))


def test_async_run_makes_coroutines(tmp_path: Path) -> None:
    """`async def run` makes coroutines of the cannons."""
    for number, (word, asynchronous) in enumerate([("def", False), ("async def", True)]):
        text = f"class Transaction:\n    {word} run(self): pass\n"
        assert load(_script(tmp_path, text, f"kind_{number}.py")).asynchronous is asynchronous


@pytest.mark.parametrize("arguments", ["", ", config", ", config, context", ", config, context=None", ", *given"])
def test_each_form_of_constructor_works(arguments: str, tmp_path: Path) -> None:
    """With configuration and context, with one of them, or without."""
    text = f"class Transaction:\n    def __init__(self{arguments}): pass\n    def run(self): pass\n"
    made = load(_script(tmp_path, text)).transaction({}, {})
    assert (made.setup(), made.tear_down(), made.custom_timers) == (None, None, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("def", "invalid syntax"),
        ("raise SystemExit(3)", "cannot be loaded"),
        ("x = 1", "has no class Transaction"),
        ("class Transaction: pass", "no method run"),
    ],
)
def test_an_unusable_script_is_refused_with_a_reason(text: str, said: str, tmp_path: Path) -> None:
    """The error says why."""
    with pytest.raises(ScriptError, match=said):
        load(_script(tmp_path, text))


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(ScriptError, match="does not exist"):
        load(tmp_path / "absent.py")


def test_an_error_without_text_is_named_by_its_class() -> None:
    """The class stands in place of the text."""
    assert (describe(ValueError("x")), describe(ZeroDivisionError())) == ("x", "ZeroDivisionError")
