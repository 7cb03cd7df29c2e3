"""The settings: their sources, their validation, and their secrets."""

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
from smartmob.settings import OPTIONS, Settings, default_data_dir, load, secret
from tests.each import each

BY_NAME = {option.name: option for option in OPTIONS}
every_option = each("option", OPTIONS)
grouped_option = each("option", [option for option in OPTIONS if option.group])


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes configuration files."""

    def write(text: str) -> Path:
        path = tmp_path / "smartmob.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def _two(option: Option, folder: Path) -> tuple[Any, Any]:
    """Return two different values; the first is not the default."""
    if option.repeatable:
        return ("one.example", "two.example"), ("three.example",)
    if option.kind is bool:
        return (True, False) if option.default is None else (not option.default, option.default)
    if option.choices:
        first = next(choice for choice in option.choices if choice != option.default)
        return first, option.default or option.choices[-1]
    if option.kind is Path:
        paths = folder / "one", folder / "two"
        for path in paths:
            path.write_text(f"secret of {path.name}")
        return paths
    if option.kind is str:
        return "first", "second"
    low, step = option.kind(option.low or 0), option.kind(1)
    if option.high is not None and option.high < low + 3:
        step = (option.high - low) / 4
    return low + 2 * step, low + 3 * step


def _as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _as_toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _value(settings: Settings, option: Option) -> Any:
    return getattr(getattr(settings, option.group) if option.group else settings, option.attribute)


class TestPrecedence:
    """Flags override variables, which override the file, which overrides defaults, for each setting."""

    @every_option
    def test_each_default_is_valid(self, option: Option) -> None:
        """A setting without a value has its default, which is within its bounds."""
        value = _value(load({}, {}), option)

        if option.name == "data_dir":
            assert value == default_data_dir().absolute()
        else:
            assert value == option.default
            assert value is None or option.parse(value, "default") == value

    @every_option
    def test_the_file_overrides_the_default(self, option: Option, file: Any, tmp_path: Path) -> None:
        """The file sets the settings that it names, with their types."""
        value, _ = _two(option, tmp_path)

        found = _value(load({}, {}, file(f"{option.name} = {_as_toml(value)}")), option)

        assert found == value
        assert type(found) is type(value)

    @every_option
    def test_a_variable_overrides_the_file(self, option: Option, file: Any, tmp_path: Path) -> None:
        """An environment variable overrides the file, with the type of the setting."""
        value, other = _two(option, tmp_path)

        found = _value(load({}, {option.variable: _as_text(value)}, file(f"{option.name} = {_as_toml(other)}")), option)

        assert found == value
        assert type(found) is type(value)

    @every_option
    def test_a_flag_overrides_the_variable(self, option: Option, file: Any, tmp_path: Path) -> None:
        """A flag overrides a variable and the file, also when it sets the default."""
        for value, other in (_two(option, tmp_path), _two(option, tmp_path)[::-1]):
            toml = file(f"{option.name} = {_as_toml(other)}")

            assert _value(load({option.name: value}, {option.variable: _as_text(other)}, toml), option) == value

    @every_option
    def test_an_empty_variable_is_not_set(self, option: Option) -> None:
        """`SMARTMOB_PORT= smartmob serve` is how a shell unsets a setting."""
        assert load({}, {option.variable: ""}) == load({}, {})

    @grouped_option
    def test_the_file_may_have_a_table_for_a_feature(self, option: Option, file: Any, tmp_path: Path) -> None:
        """A setting of a feature may be in the table of the feature."""
        value, _ = _two(option, tmp_path)
        toml = file(f"[{option.group}]\n{option.attribute} = {_as_toml(value)}")

        assert _value(load({}, {}, toml), option) == value

    def test_smartmob_config_names_the_file(self, file: Any, tmp_path: Path) -> None:
        """SMARTMOB_CONFIG names the file, unless a flag does."""
        other = tmp_path / "other.toml"
        other.write_text("port = 2")

        assert load({}, {"SMARTMOB_CONFIG": str(other)}).port == 2
        assert load({}, {"SMARTMOB_CONFIG": str(other)}, file("port = 3")).port == 3

    def test_a_source_sets_only_what_it_names(self, file: Any) -> None:
        """Each source sets only the settings that it names."""
        found = load({"port": 1}, {"SMARTMOB_HOST": "h"}, file("utc = true\n[metrics]\npage_size = 7"))

        assert (found.port, found.host, found.utc, found.metrics.page_size) == (1, "h", True, 7)
        assert found.metrics.run_window == Settings().metrics.run_window


class TestFile:
    """The content of the configuration file."""

    @pytest.mark.parametrize(
        ("text", "name", "close"),
        [
            ("prot = 1", "prot", "port"),
            ("[metrics]\npage_siz = 1", "metrics_page_siz", "metrics_page_size"),
            ("[database.pool]\nsizes = 1", "database_pool_sizes", "database_pool_size"),
            ("token = 'x'", "token", "token_file"),
        ],
    )
    def test_an_unknown_key_is_refused_with_the_similar_name(self, file: Any, text: str, name: str, close: str) -> None:
        """An unknown key is refused with the most similar setting."""
        with pytest.raises(SettingsError, match=rf"there is no setting {name}; did you mean {close}\?"):
            load({}, {}, file(text))

    def test_a_key_without_a_similar_one_gets_no_suggestion(self, file: Any) -> None:
        """Without a similar name there is no suggestion."""
        with pytest.raises(SettingsError, match=r"smartmob\.toml: there is no setting zzz$"):
            load({}, {}, file("zzz = 1"))

    def test_invalid_toml_is_refused_with_its_position(self, file: Any) -> None:
        """The error names the file and the position."""
        with pytest.raises(SettingsError, match=r"smartmob\.toml is not valid TOML: .*line 1"):
            load({}, {}, file("port: 1"))

    def test_invalid_utf_8_is_refused(self, tmp_path: Path) -> None:
        """Bytes that are not UTF-8 are refused as invalid TOML."""
        path = tmp_path / "latin.toml"
        path.write_bytes(b"host = '\xfc'")

        with pytest.raises(SettingsError, match="is not valid TOML"):
            load({}, {}, path)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        """A named file must exist."""
        with pytest.raises(SettingsError, match=r"cannot read the configuration file .*none\.toml: No such file"):
            load({}, {}, tmp_path / "none.toml")

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        """The error gives the reason."""
        with pytest.raises(SettingsError, match="Is a directory"):
            load({}, {}, tmp_path)


BOUNDED = [
    (option, bound, beyond)
    for option in OPTIONS
    for bound, beyond in ((option.low, -1), (option.high, 1))
    if bound is not None
]


class TestValues:
    """Accepted values of each type of setting."""

    @pytest.mark.parametrize(
        ("option", "bound", "beyond"), BOUNDED, ids=lambda value: getattr(value, "name", str(value))
    )
    def test_values_beyond_a_bound_are_refused(self, option: Option, bound: float, beyond: int) -> None:
        """The bound itself is accepted; a value beyond it is refused with the bounds and the flag."""
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
    def test_words_for_true_and_false_are_accepted(self, given_as: str, value: bool) -> None:
        """The usual words for true and false are accepted."""
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
            ("log_format", "xml", "one of kv, json, words"),
            ("data_dir", "~no-such-user-of-this-machine/data", "a path"),
        ],
    )
    def test_invalid_texts_are_refused_with_the_variable(self, name: str, given_as: str, said: str) -> None:
        """An invalid text is refused with the variable and the expected type."""
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
    def test_other_toml_types_are_refused_with_the_key(self, file: Any, name: str, literal: str) -> None:
        """A value of another TOML type is refused with the key."""
        with pytest.raises(SettingsError, match=f": {name}: expected "):
            load({}, {}, file(f"{name} = {literal}"))

    @pytest.mark.parametrize(("literal", "value"), [("7", 7), ("7.0", 7), ("'7'", 7)])
    def test_whole_numbers_may_be_floats_and_texts(self, file: Any, literal: str, value: int) -> None:
        """A whole number may be written as such, with a zero fraction, and as a text."""
        found = load({}, {}, file(f"port = {literal}")).port

        assert (found, type(found)) == (value, int)

    def test_lists_are_lists_or_comma_separated_texts(self, file: Any) -> None:
        """A list is a list or a text with commas; empty parts are dropped."""
        assert load({}, {"SMARTMOB_ALLOW_HOST": " a , b,,"}).allow_host == ("a", "b")
        assert load({}, {}, file("allow_host = ['a', ' b ', '']")).allow_host == ("a", "b")
        assert load({}, {}, file("allow_host = 'a,b'")).allow_host == ("a", "b")
        assert load({"allow_host": ("a", "b")}, {}).allow_host == ("a", "b")

    @settings(deadline=None)
    @given(st.sampled_from(OPTIONS), st.text(max_size=12))
    def test_any_text_is_a_value_or_refused(self, option: Option, text: str) -> None:
        """Every text of a variable is a value of the right type or refused with the name of the variable."""
        try:
            value = option.parse(text, option.variable)
        except SettingsError as error:
            assert str(error).startswith(f"{option.variable}: expected ")
        else:
            assert isinstance(value, tuple if option.repeatable else option.kind)

    def test_paths_are_expanded_and_the_data_directory_is_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`~` is expanded, and the data directory does not depend on later working directories."""
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)

        assert load({"data_dir": "~/data"}, {}).data_dir == tmp_path / "data"
        assert load({"data_dir": "data"}, {}).data_dir == tmp_path / "data"


class TestSecrets:
    """The token and the database URL."""

    def test_the_token_is_read_from_the_environment(self) -> None:
        """SMARTMOB_TOKEN is used without surrounding blanks."""
        assert load({}, {"SMARTMOB_TOKEN": " abc\n"}).token == "abc"

    def test_without_a_source_there_is_no_token(self) -> None:
        """Without a source there is no token."""
        assert load({}, {}).token is None
        assert load({}, {"SMARTMOB_TOKEN": ""}).token is None

    @pytest.mark.parametrize("blank", [" ", "\n", "\t \r\n"])
    def test_a_blank_token_is_refused(self, blank: str) -> None:
        """A token of blanks is refused."""
        with pytest.raises(SettingsError, match="SMARTMOB_TOKEN"):
            load({}, {"SMARTMOB_TOKEN": blank})

    @pytest.mark.parametrize("token", ["päss", "a\tb", "a\nb", "a\x7f", "\u200b", os.fsdecode(b"\xff")])
    def test_a_token_must_be_printable_ascii(self, token: str, tmp_path: Path) -> None:
        """Clients encode other characters differently; the error names the source and not the token."""
        path = tmp_path / "token"
        path.write_bytes(os.fsencode(token))

        for flags, env, source in (
            ({}, {"SMARTMOB_TOKEN": token}, "SMARTMOB_TOKEN"),
            ({"token_file": path}, {}, "--token-file"),
        ):
            with pytest.raises(SettingsError, match=f"^{source}: ") as caught:
                load(flags, env)
            assert token not in str(caught.value)

    def test_the_token_file_can_be_named_by_each_source(self, tmp_path: Path, file: Any) -> None:
        """A flag, a variable and the configuration file can name the token file."""
        path = tmp_path / "token"
        path.write_text("s3cret :&=\n", encoding="utf-8")

        assert load({"token_file": path}, {}).token == "s3cret :&="
        assert load({}, {"SMARTMOB_TOKEN_FILE": str(path)}).token == "s3cret :&="
        assert load({}, {}, file(f"token_file = '{path}'")).token == "s3cret :&="

    def test_token_file_overrides_the_token_variable(self, tmp_path: Path) -> None:
        """--token-file overrides SMARTMOB_TOKEN, which overrides SMARTMOB_TOKEN_FILE."""
        path = tmp_path / "token"
        path.write_text("from the file")

        assert load({"token_file": path}, {"SMARTMOB_TOKEN": "env"}).token == "from the file"
        assert load({}, {"SMARTMOB_TOKEN": "env", "SMARTMOB_TOKEN_FILE": str(path)}).token == "env"

    @pytest.mark.parametrize(
        ("content", "said"), [(None, "cannot read"), (b" \n", "is empty"), (b"\xff", "cannot read")]
    )
    def test_an_invalid_token_file_is_refused_with_its_path(
        self, tmp_path: Path, content: bytes | None, said: str
    ) -> None:
        """A token file that is missing, empty or not text is refused."""
        path = tmp_path / "token"
        if content is not None:
            path.write_bytes(content)

        with pytest.raises(SettingsError, match=f"^--token-file: (.* )?{said}"):
            load({"token_file": path}, {})

    def test_specific_settings_override_database_url(self, file: Any) -> None:
        """DATABASE_URL, which platforms set, is used if no setting names a database."""
        env = {"DATABASE_URL": "postgresql://platform/x"}

        assert load({}, env).database.url == "postgresql://platform/x"
        assert load({}, {**env, "SMARTMOB_DATABASE_URL": "variable"}).database.url == "variable"
        assert load({"database_url": "flag"}, env).database.url == "flag"
        assert load({}, env, file("[database]\nurl = 'file'")).database.url == "file"
        assert load({}, {"DATABASE_URL": ""}).database.url is None

    def test_the_database_url_can_be_in_a_file(self, tmp_path: Path) -> None:
        """A file with the URL overrides DATABASE_URL."""
        path = tmp_path / "url"
        path.write_text("postgresql://u:p@h/x\n")

        found = load({"database_url_file": path}, {"DATABASE_URL": "platform"})

        assert found.database.url == "postgresql://u:p@h/x"

    def test_the_source_with_precedence_decides_between_url_and_file(self, tmp_path: Path, file: Any) -> None:
        """Of the URL and the file with the URL, the one from the source with precedence is used."""
        path = tmp_path / "url"
        path.write_text("from-url-file")
        toml = file(f"database_url_file = '{path}'")
        env = {"SMARTMOB_DATABASE_URL_FILE": str(path)}

        assert load({"database_url_file": path}, {"SMARTMOB_DATABASE_URL": "variable"}).database.url == "from-url-file"
        assert load({"database_url": "flag"}, env).database.url == "flag"
        assert load({}, {"SMARTMOB_DATABASE_URL": "variable"}, toml).database.url == "variable"

    def test_secrets_are_not_shown(self, tmp_path: Path) -> None:
        """The repr of the settings has neither the token nor the password of the database."""
        path = tmp_path / "url"
        path.write_text("postgresql://u:hunter2@h/x")
        for flags in ({"database_url": "postgresql://u:hunter2@h/x"}, {"database_url_file": path}):
            shown = repr(load(flags, {"SMARTMOB_TOKEN": "s3cret"}))

            assert "s3cret" not in shown
            assert "hunter2" not in shown

    def test_the_error_of_a_secret_names_its_option(self, tmp_path: Path) -> None:
        """The error names the option that named the file."""
        with pytest.raises(SettingsError, match=r"^--some-file: cannot read "):
            secret(tmp_path / "none", "--some-file")


class TestOptions:
    """Options as the command line and the documentation read them."""

    def test_flag_variable_and_key_correspond(self) -> None:
        """Flag, variable and key of a setting correspond."""
        option = BY_NAME["metrics_page_size"]

        assert (option.flag, option.variable) == ("--metrics-page-size", "SMARTMOB_METRICS_PAGE_SIZE")
        assert (option.group, option.attribute) == ("metrics", "page_size")

    def test_each_name_is_unique(self) -> None:
        """No two settings share a name."""
        assert len(BY_NAME) == len(OPTIONS)

    @every_option
    def test_every_option_has_help_and_the_real_default(self, option: Option) -> None:
        """Every setting has a help text, and the help shows its real default."""
        assert option.help.endswith(".")
        if not option.shown and option.default_text:
            assert option.parse(option.default_text, "help") == option.default

    @pytest.mark.parametrize(
        ("name", "text"), [("utc", "false"), ("port", "8080"), ("token_file", ""), ("allow_host", "")]
    )
    def test_defaults_are_shown_as_users_write_them(self, name: str, text: str) -> None:
        """The help shows a default as a user would write it, and nothing if there is none."""
        assert BY_NAME[name].default_text == text

    def test_the_token_has_no_option(self) -> None:
        """The token itself cannot be given as a flag, which `ps` shows, nor in the file."""
        assert "token" not in BY_NAME


@pytest.mark.parametrize(("uid", "below_home"), [(0, False), (1000, True)])
def test_the_default_data_directory_depends_on_the_user(
    uid: int, below_home: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data of root is where the user of its database can reach it, that of others in their home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: uid)

    assert default_data_dir().is_relative_to(tmp_path) is below_home
    assert default_data_dir().name == "smartmob"
