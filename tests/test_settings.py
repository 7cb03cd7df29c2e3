"""The settings: where a value comes from, what is refused, and what stays secret."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartmob.errors import SettingsError
from smartmob.options import Option
from smartmob.settings import OPTIONS, Settings, default_data_dir, environment, inherited, load, secret

BY_NAME = {option.name: option for option in OPTIONS}
every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
grouped_option = pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.group], ids=lambda option: option.name
)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Callable[[str], Path]:
    """Return the writer of configuration files."""

    def write(text: str) -> Path:
        path = tmp_path / "smartmob.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def _two(option: Option, folder: Path) -> tuple[Any, Any]:
    """Return two values that differ, and of which the first is not the default."""
    if option.repeatable:
        return ("one.example", "two.example"), ("three.example",)
    if option.kind is bool:
        return (True, False) if option.default is None else (not option.default, option.default)
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default), option.default
    if option.kind is Path:
        paths = folder / "one", folder / "two"
        for path in paths:
            path.write_text(f"secret of {path.name}")
        return paths
    if option.kind is str:
        return "first", "second"
    low = option.kind(option.low or 0)
    return low + 2, low + 3


def _as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _as_toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _value(settings: Settings, option: Option) -> Any:
    return getattr(getattr(settings, option.group) if option.group else settings, option.attribute)


class TestPrecedence:
    """Flags before variables before the file before defaults, for each setting."""

    @every_option
    def test_the_default(self, option: Option) -> None:
        """What nobody sets has its default, within its own bounds."""
        value = _value(load({}, {}), option)

        if option.name == "data_dir":
            assert value == default_data_dir().absolute()
        else:
            assert value == option.default
            assert value is None or option.parse(value, "default") == value

    @every_option
    def test_the_file_before_the_default(self, option: Option, file: Any, tmp_path: Path) -> None:
        """The file sets what it names, with the type of the setting."""
        value, _ = _two(option, tmp_path)

        found = _value(load({}, {}, file(f"{option.name} = {_as_toml(value)}")), option)

        assert found == value
        assert type(found) is type(value)

    @every_option
    def test_the_variable_before_the_file(self, option: Option, file: Any, tmp_path: Path) -> None:
        """A variable of the environment counts more than the file, with the type of the setting."""
        value, other = _two(option, tmp_path)

        found = _value(load({}, {option.variable: _as_text(value)}, file(f"{option.name} = {_as_toml(other)}")), option)

        assert found == value
        assert type(found) is type(value)

    @every_option
    def test_the_flag_before_the_variable(self, option: Option, file: Any, tmp_path: Path) -> None:
        """A flag counts more than a variable and the file, also when it sets what is the default."""
        for value, other in (_two(option, tmp_path), _two(option, tmp_path)[::-1]):
            toml = file(f"{option.name} = {_as_toml(other)}")

            assert _value(load({option.name: value}, {option.variable: _as_text(other)}, toml), option) == value

    @every_option
    def test_an_empty_variable_is_not_set(self, option: Option) -> None:
        """`SMARTMOB_PORT= smartmob serve` is how a shell takes a setting back."""
        assert load({}, {option.variable: ""}) == load({}, {})

    @grouped_option
    def test_a_table_of_the_file(self, option: Option, file: Any, tmp_path: Path) -> None:
        """A setting of a feature may stand in the feature's table."""
        value, _ = _two(option, tmp_path)
        toml = file(f"[{option.group}]\n{option.attribute} = {_as_toml(value)}")

        assert _value(load({}, {}, toml), option) == value

    def test_the_file_from_the_environment(self, file: Any, tmp_path: Path) -> None:
        """SMARTMOB_CONFIG names the file, unless a flag does."""
        other = tmp_path / "other.toml"
        other.write_text("port = 2")

        assert load({}, {"SMARTMOB_CONFIG": str(other)}).port == 2
        assert load({}, {"SMARTMOB_CONFIG": str(other)}, file("port = 3")).port == 3

    def test_other_settings_are_left_alone(self, file: Any) -> None:
        """Each source sets only what it names."""
        found = load({"port": 1}, {"SMARTMOB_HOST": "h"}, file("utc = true\n[metrics]\npage_size = 7"))

        assert (found.port, found.host, found.utc, found.metrics.page_size) == (1, "h", True, 7)
        assert found.metrics.run_window == Settings().metrics.run_window


class TestFile:
    """What the file may say."""

    @pytest.mark.parametrize(
        ("text", "name", "close"),
        [
            ("prot = 1", "prot", "port"),
            ("[metrics]\npage_siz = 1", "metrics_page_siz", "metrics_page_size"),
            ("[database.pool]\nsizes = 1", "database_pool_sizes", "database_pool_size"),
            ("token = 'x'", "token", "token_file"),
        ],
    )
    def test_an_unknown_key(self, file: Any, text: str, name: str, close: str) -> None:
        """It is refused with the name that was probably meant."""
        with pytest.raises(SettingsError, match=rf"there is no setting {name}; did you mean {close}\?"):
            load({}, {}, file(text))

    def test_a_key_like_no_other(self, file: Any) -> None:
        """Without a similar name there is no suggestion."""
        with pytest.raises(SettingsError, match=r"smartmob\.toml: there is no setting zzz$"):
            load({}, {}, file("zzz = 1"))

    def test_no_toml(self, file: Any) -> None:
        """The error tells the file and the place."""
        with pytest.raises(SettingsError, match=r"smartmob\.toml is not valid TOML: .*line 1"):
            load({}, {}, file("port: 1"))

    def test_no_utf_8(self, tmp_path: Path) -> None:
        """Bytes that are no text are said to be no TOML."""
        path = tmp_path / "latin.toml"
        path.write_bytes(b"host = '\xfc'")

        with pytest.raises(SettingsError, match="is not valid TOML"):
            load({}, {}, path)

    def test_no_file(self, tmp_path: Path) -> None:
        """A file that was named must be there."""
        with pytest.raises(SettingsError, match=r"cannot read the configuration file .*none\.toml: No such file"):
            load({}, {}, tmp_path / "none.toml")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        """The error says why."""
        with pytest.raises(SettingsError, match="Is a directory"):
            load({}, {}, tmp_path)


BOUNDED = [
    (option, bound, beyond)
    for option in OPTIONS
    for bound, beyond in ((option.low, -1), (option.high, 1))
    if bound is not None
]


class TestValues:
    """What each kind of setting accepts."""

    @pytest.mark.parametrize(
        ("option", "bound", "beyond"), BOUNDED, ids=lambda value: getattr(value, "name", str(value))
    )
    def test_bounds(self, option: Option, bound: float, beyond: int) -> None:
        """The bound itself is accepted, what lies beyond is refused with the bounds and the flag."""
        assert _value(load({option.name: option.kind(bound)}, {}), option) == bound
        with pytest.raises(SettingsError, match=f"^{option.flag}: expected (at least|from) .*, got "):
            load({option.name: option.kind(bound + beyond)}, {})

    @pytest.mark.parametrize(
        ("given_as", "value"),
        [
            ("1", True),
            ("true", True),
            (" Yes ", True),
            ("ON", True),
            ("0", False),
            ("false", False),
            ("no", False),
            ("Off", False),
        ],
    )
    def test_switches(self, given_as: str, value: bool) -> None:
        """The usual words for yes and no are understood."""
        assert load({}, {"SMARTMOB_UTC": given_as}).utc is value

    @pytest.mark.parametrize(
        ("name", "given_as", "said"),
        [
            ("utc", "maybe", "true or false"),
            ("utc", "2", "true or false"),
            ("port", "http", "a whole number"),
            ("port", "80.5", "a whole number"),
            ("port", "1e3", "a whole number"),
            ("port", "9" * 400, "from 0 to 65535"),
            ("port", "9" * 5000, "a whole number"),
            ("stop_timeout", "soon", "a number"),
            ("stop_timeout", "nan", "a number"),
            ("stop_timeout", "inf", "(a number|from 0 to 3600)"),
            ("metrics_keep_days", "nan", "a number"),
            ("metrics_keep_days", "inf", "a number"),
            ("body_timeout", "inf", "a number"),
            ("log_format", "xml", "one of kv, json"),
            ("data_dir", "~no-such-user-of-this-machine/data", "a path"),
        ],
    )
    def test_wrong_texts(self, name: str, given_as: str, said: str) -> None:
        """A text that is no value of the setting is refused with the variable and what was expected."""
        with pytest.raises(SettingsError, match=f"^{BY_NAME[name].variable}: expected {said}"):
            load({}, {BY_NAME[name].variable: given_as})

    @pytest.mark.parametrize(
        ("name", "literal"),
        [
            ("host", "5"),
            ("host", "true"),
            ("host", "['a']"),
            ("host", "2026-11-20"),
            ("log_format", "1"),
            ("data_dir", "7"),
            ("token_file", "false"),
            ("token_file", "['a']"),
            ("database_url", "1.5"),
            ("port", "true"),
            ("port", "80.5"),
            ("port", "inf"),
            ("port", "nan"),
            ("port", "['1']"),
            ("stop_timeout", "false"),
            ("stop_timeout", "[1.0]"),
            ("utc", "2"),
            ("utc", "[true]"),
            ("utc", "1.0"),
            ("allow_host", "5"),
            ("allow_host", "true"),
            ("allow_host", "[1]"),
            ("data_dir", r'"a\u0000b"'),
            ("host", r'"a\u0000b"'),
        ],
    )
    def test_wrong_types(self, file: Any, name: str, literal: str) -> None:
        """A value of another TOML type, or one that nothing can be named, is refused with the key."""
        with pytest.raises(SettingsError, match=f": {name}: expected "):
            load({}, {}, file(f"{name} = {literal}"))

    @pytest.mark.parametrize(("literal", "value"), [("7", 7), ("7.0", 7), ("'7'", 7)])
    def test_whole_numbers(self, file: Any, literal: str, value: int) -> None:
        """A whole number may be written as such, with a fraction of nothing, and as a text."""
        found = load({}, {}, file(f"port = {literal}")).port

        assert (found, type(found)) == (value, int)

    def test_lists(self, file: Any) -> None:
        """A list is written as a list, or as a text with commas; empty parts are dropped."""
        assert load({}, {"SMARTMOB_ALLOW_HOST": " a , b,,"}).allow_host == ("a", "b")
        assert load({}, {}, file("allow_host = ['a', ' b ', '']")).allow_host == ("a", "b")
        assert load({}, {}, file("allow_host = 'a,b'")).allow_host == ("a", "b")
        assert load({"allow_host": ("a", "b")}, {}).allow_host == ("a", "b")

    @settings(deadline=None)
    @given(st.sampled_from(OPTIONS), st.text(max_size=12))
    def test_any_text(self, option: Option, text: str) -> None:
        """Whatever a variable holds, it is a value of the setting's type or refused with its name."""
        try:
            value = option.parse(text, option.variable)
        except SettingsError as error:
            assert str(error).startswith(f"{option.variable}: expected ")
        else:
            assert isinstance(value, tuple if option.repeatable else option.kind)

    def test_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A home folder is found, and the data directory does not move with the working directory."""
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)

        assert load({"data_dir": "~/data"}, {}).data_dir == tmp_path / "data"
        assert load({"data_dir": "data"}, {}).data_dir == tmp_path / "data"


class TestSecrets:
    """The token and the database's URL."""

    def test_the_token_from_the_environment(self) -> None:
        """SMARTMOB_TOKEN is taken without the blanks around it."""
        assert load({}, {"SMARTMOB_TOKEN": " abc\n"}).token == "abc"

    def test_no_token(self) -> None:
        """Without one there is none."""
        assert load({}, {}).token is None
        assert load({}, {"SMARTMOB_TOKEN": ""}).token is None

    @pytest.mark.parametrize("blank", [" ", "\n", "\t \r\n"])
    def test_a_blank_token_is_no_token(self, blank: str) -> None:
        """A token that everybody knows must not count as one."""
        with pytest.raises(SettingsError, match="SMARTMOB_TOKEN"):
            load({}, {"SMARTMOB_TOKEN": blank})

    @pytest.mark.parametrize("token", ["päss", "a\tb", "a\nb", "a\x7f", "\u200b", os.fsdecode(b"\xff")])
    def test_a_token_that_headers_cannot_carry(self, token: str, tmp_path: Path) -> None:
        """Only printable ASCII is the same for every client; the refusal names the source and not the token."""
        path = tmp_path / "token"
        path.write_bytes(os.fsencode(token))

        for flags, env, source in (
            ({}, {"SMARTMOB_TOKEN": token}, "SMARTMOB_TOKEN"),
            ({"token_file": path}, {}, "--token-file"),
        ):
            with pytest.raises(SettingsError, match=f"^{source}: ") as caught:
                load(flags, env)
            assert token not in str(caught.value)

    def test_the_token_from_a_file(self, tmp_path: Path, file: Any) -> None:
        """Flag, variable and file can each name the file that holds it."""
        path = tmp_path / "token"
        path.write_text("s3cret :&=\n", encoding="utf-8")

        assert load({"token_file": path}, {}).token == "s3cret :&="
        assert load({}, {"SMARTMOB_TOKEN_FILE": str(path)}).token == "s3cret :&="
        assert load({}, {}, file(f"token_file = '{path}'")).token == "s3cret :&="

    def test_the_flag_before_the_variable(self, tmp_path: Path) -> None:
        """--token-file counts more than SMARTMOB_TOKEN, which counts more than SMARTMOB_TOKEN_FILE."""
        path = tmp_path / "token"
        path.write_text("from the file")

        assert load({"token_file": path}, {"SMARTMOB_TOKEN": "env"}).token == "from the file"
        assert load({}, {"SMARTMOB_TOKEN": "env", "SMARTMOB_TOKEN_FILE": str(path)}).token == "env"

    @pytest.mark.parametrize(
        ("content", "said"), [(None, "cannot read"), (b" \n", "is empty"), (b"\xff", "cannot read")]
    )
    def test_a_useless_token_file(self, tmp_path: Path, content: bytes | None, said: str) -> None:
        """A file that is missing, empty or no text stops the start, with its path."""
        path = tmp_path / "token"
        if content is not None:
            path.write_bytes(content)

        with pytest.raises(SettingsError, match=f"^--token-file: (.* )?{said}"):
            load({"token_file": path}, {})

    def test_database_url(self, file: Any) -> None:
        """DATABASE_URL is what platforms set; whoever says more exactly what is meant counts more."""
        env = {"DATABASE_URL": "postgresql://platform/x"}

        assert load({}, env).database.url == "postgresql://platform/x"
        assert load({}, {**env, "SMARTMOB_DATABASE_URL": "variable"}).database.url == "variable"
        assert load({"database_url": "flag"}, env).database.url == "flag"
        assert load({}, env, file("[database]\nurl = 'file'")).database.url == "file"
        assert load({}, {"DATABASE_URL": ""}).database.url is None

    def test_database_url_from_a_file(self, tmp_path: Path) -> None:
        """The URL with its password can be kept in a file, which counts more than DATABASE_URL."""
        path = tmp_path / "url"
        path.write_text("postgresql://u:p@h/x\n")

        found = load({"database_url_file": path}, {"DATABASE_URL": "platform"})

        assert found.database.url == "postgresql://u:p@h/x"

    def test_the_url_of_the_stronger_source(self, tmp_path: Path, file: Any) -> None:
        """Of the URL and the file of the URL, the one counts that comes from the stronger source."""
        path = tmp_path / "url"
        path.write_text("from-url-file")
        toml = file(f"database_url_file = '{path}'")
        env = {"SMARTMOB_DATABASE_URL_FILE": str(path)}

        assert load({"database_url_file": path}, {"SMARTMOB_DATABASE_URL": "variable"}).database.url == "from-url-file"
        assert load({"database_url": "flag"}, env).database.url == "flag"
        assert load({}, {"SMARTMOB_DATABASE_URL": "variable"}, toml).database.url == "variable"

    def test_secrets_are_not_shown(self, tmp_path: Path) -> None:
        """What is logged or printed of the settings holds neither the token nor the database's password."""
        path = tmp_path / "url"
        path.write_text("postgresql://u:hunter2@h/x")
        for flags in ({"database_url": "postgresql://u:hunter2@h/x"}, {"database_url_file": path}):
            shown = repr(load(flags, {"SMARTMOB_TOKEN": "s3cret"}))

            assert "s3cret" not in shown
            assert "hunter2" not in shown

    def test_a_secret_names_its_source(self, tmp_path: Path) -> None:
        """The error tells which option named the file."""
        with pytest.raises(SettingsError, match=r"^--some-file: cannot read "):
            secret(tmp_path / "none", "--some-file")


class TestOptions:
    """What the command line and the documentation read."""

    def test_names(self) -> None:
        """Flag, variable and key of one setting go together."""
        option = BY_NAME["metrics_page_size"]

        assert (option.flag, option.variable) == ("--metrics-page-size", "SMARTMOB_METRICS_PAGE_SIZE")
        assert (option.group, option.attribute) == ("metrics", "page_size")

    def test_each_name_once(self) -> None:
        """No two settings share a name."""
        assert len(BY_NAME) == len(OPTIONS)

    @every_option
    def test_help(self, option: Option) -> None:
        """Every setting has a sentence of help, and the default that the help shows is the real one."""
        assert option.help.endswith(".")
        if not option.shown and option.default_text:
            assert option.parse(option.default_text, "help") == option.default

    @pytest.mark.parametrize(
        ("name", "text"), [("utc", "false"), ("port", "8080"), ("token_file", ""), ("allow_host", "")]
    )
    def test_defaults_as_text(self, name: str, text: str) -> None:
        """The help shows a default as one would write it, and nothing where there is none."""
        assert BY_NAME[name].default_text == text

    def test_the_secret_has_no_option(self) -> None:
        """The token itself can be given neither as a flag, where `ps` shows it, nor in the file."""
        assert "token" not in BY_NAME


@pytest.mark.parametrize(("uid", "below_home"), [(0, False), (1000, True)])
def test_default_data_dir(uid: int, below_home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's data lies where the database's own user can reach it, everybody else's in the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: uid)

    assert default_data_dir().is_relative_to(tmp_path) is below_home
    assert default_data_dir().name == "smartmob"


def test_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done to it does not change the process."""
    monkeypatch.setenv("SMARTMOB_UTC", "true")

    found = environment()
    found["SMARTMOB_UTC"] = "false"

    assert environment()["SMARTMOB_UTC"] == "true"


def test_what_programs_inherit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings of the service, nor what systemd says to the service alone."""
    for name in ("SMARTMOB_TOKEN", "DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "OTHER"):
        monkeypatch.setenv(name, "x")

    assert {"SMARTMOB_TOKEN", "DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}.isdisjoint(inherited())
    assert inherited()["OTHER"] == "x"
