"""The facts about the load of a run in its report."""

from __future__ import annotations

from smartmob.turrets.report.fired import fired


def test_the_targets_the_project_and_the_scripts() -> None:
    """They stand in the configuration, each once; without a name there the project has that of the run."""
    config = {
        "name": "cart",
        "url": "http://shop.example",
        "turrets": [{"script": "v_user.py", "target": "http://api.example"}, {"script": "v_user.py"}, "odd"],
    }
    found = fired(config, "cart-7")
    assert found.targets == ["http://api.example", "http://shop.example"]
    assert (found.project, found.scripts) == ("cart", ["v_user.py"])
    assert '"script": "v_user.py"' in found.text
    for odd in ({}, {"turrets": None, "url": 7, "name": ""}):
        assert (fired(odd, "cart-7").project, fired(odd, "cart-7").targets) == ("cart-7", [])
    assert fired({}, "x").text == ""


def test_a_report_tells_no_secrets() -> None:
    """Passwords, tokens and keys become ***, also in addresses and inside of lists."""
    config = {
        "url": "https://user:hunter2@shop.example/x?page=1",
        "headers": [{"Authorization": "Bearer hunter2", "Accept": "*/*"}],
        "api_key": "hunter2",
        "db": {"DB_PASSWORD": "hunter2", "token": {"value": "hunter2"}, "password": ""},
        "passengers": 3,
    }
    found = fired(config, "x")
    assert "hunter2" not in found.text + "".join(found.targets)
    assert found.targets == ["https://***@shop.example/x?page=1"]
    assert '"passengers": 3' in found.text
    assert '"Accept": "*/*"' in found.text


def test_a_long_configuration_is_cut() -> None:
    """A report is one page, so the text ends with a mark where it goes on."""
    text = fired({"users": ["a" * 100] * 1000}, "x").text
    assert (len(text) < 21_000, text.endswith("…")) == (True, True)
