"""`smartmob har-to-project`: the project fires at a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from smartmob.cli.main import group
from tests.acceptance.commands import run
from tests.turrets.test_har_script import HOST, _post, entry, har

pytestmark = pytest.mark.timeout(900)


async def test_the_requests_arrive_as_they_were_recorded(aiohttp_server: Any, tmp_path: Path) -> None:
    """In their order, with their bodies and headers; the secret is that of the configuration."""
    seen: list[tuple[str, str, str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, str(request.rel_url), request.headers.get("X-Kind", ""), await request.read()))
        return web.Response(status=404 if request.path == "/gone" else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = await aiohttp_server(app)
    recording = tmp_path / "shop.har"
    login = _post('{"user": "me", "password": "S3CRET"}')
    login["request"]["url"] = f"{HOST}/login"
    headers = [{"name": "X-Kind", "value": "plain"}, {"name": "Cookie", "value": "a=S3CRET"}]
    recording.write_bytes(
        har(
            entry(f"{HOST}/a b?q=1#top", headers=headers),
            login,
            entry(f"{HOST}/gone", status=404),
            entry("https://x.test/"),
        )
    )
    project = tmp_path / "project"
    code, _, errors = await run("har-to-project", recording, project, "--no-think")
    assert code == 0, errors
    assert "3 requests to http://shop.test" in errors
    assert "1 left out, requests to other hosts" in errors
    assert "secret_password" in errors
    files = [path for path in project.rglob("*") if path.is_file()]
    assert not any("S3CRET" in path.read_text(encoding="utf-8") for path in files)

    config = json.loads((project / "config.json").read_text(encoding="utf-8"))
    config["turrets"][0] |= {"base_url": f"http://127.0.0.1:{server.port}", "secret_password": "mine"}
    (project / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code, output, errors = await run("try-script", project / "test_scripts" / "v_user.py")
    assert code == 0, output + errors
    assert seen == [
        ("GET", "/a%20b?q=1", "plain", b""),
        ("POST", "/login", "", b'{"user": "me", "password": "mine"}'),
        ("GET", "/gone", "", b""),
    ]
    assert (await run("har-to-project", recording, project))[0] != 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--most-think", "nan"),
        ("--run-time", "inf"),
        ("--cannons", "0"),
        ("--host", "http://api.example"),
        ("--host", "api.example:8080"),
        ("--keep-header", "Accept: text/html"),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, option: str, value: str) -> None:
    """One line names the option, and the exit code is 2."""
    (tmp_path / "a.har").write_text("{}")
    result = CliRunner().invoke(
        group, ["har-to-project", str(tmp_path / "a.har"), str(tmp_path / "new"), option, value]
    )
    assert (result.exit_code, f"Invalid value for '{option}'" in result.stderr) == (2, True), result.output
