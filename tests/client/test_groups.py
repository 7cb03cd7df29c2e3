"""Many servers as one."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest

from smartmob import client
from smartmob.client import Group, Result
from tests.client.servers import Server


@pytest.fixture(name="urls")
def _urls(server: Server) -> tuple[str, str]:
    """Return one server under two names."""
    return server.url, f"http://localhost:{server.port}"


def test_results_are_grouped_by_host(urls: tuple[str, str]) -> None:
    """Every host's lines and exit code; lines are printed with the host when that is asked for."""
    printed = io.StringIO()
    with client.group(*urls) as group, redirect_stdout(printed):
        assert group.hosts == ["127.0.0.1", "localhost"]
        results = group.exec("echo hi; exit 3", echo_response=True)
        assert group.os_info()["localhost"].lines == ["linux"]

    assert {host: (result.lines, result.exit_code, result.good) for host, result in results.items()} == {
        "127.0.0.1": (["hi\n"], 3, False),
        "localhost": (["hi\n"], 3, False),
    }
    # The service of this test writes its log to the same place.
    said = [line for line in printed.getvalue().splitlines() if "job." not in line]
    assert sorted(said) == ["127.0.0.1: hi", "localhost: hi"]


def test_a_stream_yields_lines_and_results(urls: tuple[str, str]) -> None:
    """Whichever host says something next, and each host's result at its end."""
    with client.group(*urls) as group:
        found = list(group.stream("exec", "echo one; echo two"))
    for host in ("127.0.0.1", "localhost"):
        *lines, result = [message for name, message in found if name == host]
        assert lines == ["one\n", "two\n"]
        assert isinstance(result, Result)
        assert result.good


def test_an_unreachable_server_does_not_stop_the_others(server: Server) -> None:
    """It does not keep the others from going on."""
    with client.group(server.url, "http://127.0.0.1:1", connect_timeout=5.0) as group:
        assert group.hosts == [f"127.0.0.1:{server.port}", "127.0.0.1:1"]
        results = group.exec("echo hi")
        assert results[f"127.0.0.1:{server.port}"].good
        assert isinstance(results["127.0.0.1:1"].error, ConnectionError)
        with pytest.raises(ConnectionError):
            group.exec("echo hi", raise_error=True)
        late = group.exec("sleep 600", timeout=0.3)[f"127.0.0.1:{server.port}"]
        assert "did not end within" in str(late.error)


def test_a_group_without_servers_is_refused() -> None:
    """A group needs at least one server, and each server once."""
    with pytest.raises(ValueError, match="at least one"):
        Group(())
    with pytest.raises(ValueError, match="each server once"):
        Group(("http://a:1", "http://a:1"))
