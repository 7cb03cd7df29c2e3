"""Services that get turrets, and the configuration of these; the acceptance tests run the whole deployment."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.cli.deploy import create_process, deployed, hq_address, machines, services
from smartmob.client.http import RestClient
from smartmob.errors import InvalidInput, RemoteError, SmartmobError
from tests.turrets.conftest import _lab

__all__ = ["_lab"]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("rack7:8080", ["http://rack7:8080"]),
        ("rack7:8080, https://rack8:443/", ["http://rack7:8080", "https://rack8"]),
        ("[::1]:8080,127.0.0.1:8081", ["http://[::1]:8080", "http://127.0.0.1:8081"]),
    ],
)
def test_addresses_of_services_are_separated_by_commas(text: str, urls: list[str]) -> None:
    """Addresses are separated by commas, with or without a scheme."""
    assert services(text) == urls


@pytest.mark.parametrize("text", ["", "rack7", "rack7:8080,", "rack7:port", "ftp://rack7:8080", "a:1,a:1", ":8080"])
def test_an_address_without_a_service_is_refused_before_any_change(text: str) -> None:
    """The error comes before anything is done."""
    with pytest.raises(InvalidInput, match=r"^--on: "):
        services(text)


@pytest.mark.parametrize(
    ("listens", "server", "urls", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080", ["http://localhost:1", "http://[::1]:2"], "127.0.0.1"),
        ("192.0.2.10", "http://127.0.0.1:8080", ["http://rack7:1"], "192.0.2.10"),
        ("0.0.0.0", "http://lab:8080", ["http://rack7:1"], "lab"),
        ("::", "http://127.0.0.1:8080", ["http://127.0.0.1:1"], "127.0.0.1"),
    ],
)
def test_where_the_headquarters_is(listens: str, server: str, urls: list[str], address: str) -> None:
    """It is where it listens; one that listens everywhere is where the command found the service."""
    assert hq_address(listens, server, urls) == address


@pytest.mark.parametrize(
    ("listens", "server", "way"),
    [
        ("127.0.0.1", "http://lab:8080", "--hq-host ADDRESS"),
        ("0.0.0.0", "http://127.0.0.1:8080", "use --hq-address"),
    ],
)
def test_a_headquarters_that_cannot_be_reached(listens: str, server: str, way: str) -> None:
    """The error names the service and the next step."""
    with pytest.raises(InvalidInput, match=f"a turret on rack7 cannot reach .*{way}"):
        hq_address(listens, server, ["http://127.0.0.1:1", "http://rack7:1"])


def _project(folder: Path, turrets: int) -> Path:
    folder.mkdir()
    (folder / "v_user.py").write_text("class Transaction:\n    def run(self):\n        pass\n")
    entries = [{"name": f"t{number}", "cannons": 1, "script": "v_user.py"} for number in range(turrets)]
    (folder / "config.json").write_text(json.dumps({"run_time": 1, "turrets": entries}))
    return folder


async def test_nothing_is_deployed_without_a_headquarters(client: Any, tmp_path: Path) -> None:
    """No turret is deployed for a service that is not a headquarters."""
    async with RestClient(f"http://127.0.0.1:{client.server.port}") as lab:
        with pytest.raises(SmartmobError, match="is not a headquarters; start it with --hq"):
            async with deployed(lab, await machines(lab, ["127.0.0.1:1"]), _project(tmp_path / "p", 1), None, None):
                pytest.fail("it has begun")


async def test_a_package_without_a_project(lab: Any, tmp_path: Path) -> None:
    """The error names what is missing."""
    packed = tmp_path / "p.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(_project(tmp_path / "p", 1) / "v_user.py", "v_user.py")
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as here:
        with pytest.raises(InvalidInput, match=r"has no config\.json"):
            async with deployed(here, await machines(here, [here.url]), packed, None, None):
                pytest.fail("it has begun")


async def test_turrets_are_dealt_out(lab: Any, tmp_path: Path) -> None:
    """Three turrets of a package run on one service, and the run waits for all of them."""
    packed = tmp_path / "p.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(_project(tmp_path / "p", 3), "p")
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as here:
        async with deployed(here, await machines(here, [here.url]), packed, None, None) as sent:
            assert json.loads(sent.config_file.read_text())["min_turrets"] == sent.turrets == 3
            assert sorted(turret["name"] for turret in (await here.get("/turrets"))["turrets"]) == ["t0", "t1", "t2"]
            assert len((await here.get("/list-processes"))["processes"]) == 3
        assert (await here.get("/list-processes"))["processes"] == []


async def test_an_older_service_gets_no_lease(lab: Any) -> None:
    """It refuses the field that it does not know, as this version refuses another one, and then gets the rest."""
    wanted = {"app": "a", "node": "b", "process_type": "c", "source_url": "http://127.0.0.1:1/"}
    async with RestClient(f"http://127.0.0.1:{lab.server.port}") as here:
        with pytest.raises(RemoteError, match="`hire`") as refused:
            await here.post("/create-process", wanted | {"hire": 1})
    got: list[Any] = []

    async def create(request: web.Request) -> web.Response:
        got.append(await request.json())
        refusal = {"status": 400, "title": "Invalid", "detail": str(refused.value), "request_id": "1"}
        if "lease" not in got[-1]:
            return web.json_response({}, status=201)
        text = json.dumps(refusal).replace("hire", "lease")
        return web.Response(text=text, status=refused.value.status, content_type="application/problem+json")

    app = web.Application()
    app.router.add_post("/create-process", create)
    async with TestServer(app) as older, RestClient(f"http://127.0.0.1:{older.port}") as there:
        await create_process(there, wanted, 5.0)
    assert got == [wanted | {"lease": 5.0}, wanted]
