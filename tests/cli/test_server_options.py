"""The address of the service, and the token, of a command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from smartmob.cli.server_options import command_line, with_rest_client
from smartmob.client.http import RestClient
from smartmob.errors import SettingsError


@click.command()
@with_rest_client
async def command(rest: RestClient) -> None:
    """Tell the address and the header."""
    click.echo(f"{rest.url} {rest._headers.get('Authorization')}")


def _said(*arguments: str, **env: str) -> str:
    result = CliRunner().invoke(command, arguments, env=env, catch_exceptions=False)
    return result.output.strip()


def test_by_default_this_machine_without_a_token() -> None:
    """Nothing needs to be said for a service that was started with nothing said."""
    assert _said() == "http://127.0.0.1:8080 None"


def test_the_option_precedes_the_variable() -> None:
    """The option before the variable."""
    assert _said(SMARTMOB_SERVER="http://lab:1/").split()[0] == "http://lab:1"
    assert _said("--server", "http://other:2", SMARTMOB_SERVER="http://lab:1").split()[0] == "http://other:2"


def test_the_named_token_file_precedes_the_environment(tmp_path: Path) -> None:
    """From a file or the environment; the file that is named wins."""
    (tmp_path / "token").write_text("from-file\n")
    file = str(tmp_path / "token")

    assert _said(SMARTMOB_TOKEN="from-env").endswith("Bearer from-env")
    assert _said("--token-file", file, SMARTMOB_TOKEN="from-env").endswith("Bearer from-file")
    assert _said(SMARTMOB_TOKEN_FILE=file).endswith("Bearer from-file")


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    """It is an error, not an attempt without a token."""
    with pytest.raises(SettingsError, match="--token-file: cannot read"):
        _said("--token-file", str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("server", "usual", "said"),
    [
        ("http://127.0.0.1:8080/", None, "smartmob stop 'my app.web.0'"),
        ("http://lab:1", None, "smartmob stop 'my app.web.0' --server http://lab:1"),
        ("http://lab:1", "http://lab:1/", "smartmob stop 'my app.web.0'"),
        ("http://ci:s3cret@rest:1", None, "smartmob stop 'my app.web.0' --server 'http://***@rest:1'"),
    ],
)
def test_a_further_command_can_be_typed_as_it_stands(
    server: str, usual: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be typed as it stands, names the server where that is not the usual one, and shows no password."""
    monkeypatch.delenv("SMARTMOB_SERVER", raising=False)
    if usual is not None:
        monkeypatch.setenv("SMARTMOB_SERVER", usual)
    assert command_line(RestClient(server), "stop", "my app.web.0") == said
