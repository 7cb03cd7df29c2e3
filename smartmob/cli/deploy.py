"""Turrets as processes of other services: deployed for a run, and removed in every case."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yarl import URL

from smartmob.cli import printing
from smartmob.cli.processes import remarks
from smartmob.cli.server_options import command_line
from smartmob.client.http import RestClient
from smartmob.client.source_archive import PROCFILE, source_archive
from smartmob.errors import InvalidInput, RemoteError, SmartmobError
from smartmob.processes import model
from smartmob.turrets.turret import configuration, package

_CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.25
_READY_SECONDS = 30.0
_GRACE_SECONDS = 15.0
_TYPE = "turret"
_TURRET = "turret.tar.gz"
_NOT_STARTED = model.FAILURES | {model.BACKOFF, model.STOPPED}
_SCRIPT = "turret.sh"
_COMMAND = f'"$SMARTMOB_PYTHON" -m smartmob turret --tar {_TURRET}'
_FOUND = f"""\
# The service's own Python finds what was installed for this program, by the same version of Python.
PYTHONPATH="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" exec {_COMMAND}
"""


class DeploymentFailed(SmartmobError):
    """The turrets cannot be deployed to the other services."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A project to fire: its folder, its configuration, and the number of turrets that were deployed."""

    folder: Path
    config_file: Path
    turrets: int


@dataclass(frozen=True, slots=True)
class _Process:
    """A turret on a service."""

    rest: RestClient
    turret: dict[str, Any]
    app: str
    node: str

    @property
    def slug(self) -> str:
        return f"{self.app}.{self.node}"

    def __str__(self) -> str:
        return f"{self.turret['name']} on {URL(self.rest.url).authority}"


def services(text: str) -> list[str]:
    """Return the addresses in `host:port,host:port`; raises InvalidInput."""
    found = []
    for part in (part.strip() for part in text.split(",")):
        try:
            url = URL(part if "://" in part else f"http://{part}")
            known = url.host and url.scheme in ("http", "https") and url.explicit_port and not url.user
        except ValueError:
            known = None
        if not known:
            raise InvalidInput(f"--on: {part!r} is not the address of a service, such as rack7:8080")
        found.append(str(url.origin()))
    if len(set(found)) < len(found):
        raise InvalidInput("--on: each service only once")
    return found


def hq_address(listens: str, server: str, urls: Sequence[str]) -> str:
    """Return the address at which turrets of the services at `urls` reach a headquarters that listens at `listens`.

    For a headquarters that listens on all addresses it is the host of the service at `server`. Raises InvalidInput when
    the turrets cannot reach it.
    """
    address = (URL(server).host or "") if _is_everywhere(listens) else listens
    far = [host for url in urls if not _is_here(host := URL(url).host or "")]
    if far and _is_here(address):
        way = "" if address != listens else "start it with `smartmob serve --hq --hq-host ADDRESS`, or "
        raise InvalidInput(
            f"a turret on {far[0]} cannot reach the headquarters at {address}; "
            f"{way}say with --hq-address where it is for them"
        )
    return address


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def deployed(
    rest: RestClient, urls: Sequence[str], project: Path, config_file: Path | None, address: str | None
) -> AsyncIterator[Deployment]:
    """Deploy the turrets of a project to services, and remove them at the end of the block.

    Services get turrets in turn until each service has one and each turret has a service. All are connected to the
    headquarters of `rest` when the block begins. Raises InvalidInput, RemoteError and DeploymentFailed.
    """
    heard = await rest.get("/turrets")
    there = heard["headquarters"]
    if there is None:
        raise DeploymentFailed(f"{rest.url} is no headquarters; start it with --hq (smartmob serve --hq)")
    address = address or hq_address(there["host"], rest.url, urls)
    goal = {"hq_address": address, "hq_publisher": there["publish_port"], "hq_rc": there["rc_port"]}
    async with AsyncExitStack() as ends:
        temporary = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="smartmob-fire-")))
        clients = [await ends.enter_async_context(rest.for_service(url)) for url in urls]
        folder, config = await asyncio.to_thread(_open_project, project, config_file, temporary)
        turrets = await asyncio.to_thread(package.turrets, folder, config)
        required = configuration.read(config).get("turrets_requirements", [])
        app, number = f"turrets-{secrets.token_hex(4)}", max(len(turrets), len(clients))
        processes = [
            _Process(each, turret | goal, app, f"{_TYPE}.{index}")
            for index, (each, turret) in enumerate(islice(zip(cycle(clients), cycle(turrets), strict=False), number))
        ]
        try:
            await _create(processes, config.parent, temporary, required)
            await _until_ready(rest, processes, {turret["uuid"] for turret in heard["turrets"]}, address)
            printing.say(f"Ready: {', '.join(map(str, processes))}")
            yield Deployment(folder, await asyncio.to_thread(_waiting_for, config, number, temporary), number)
        finally:
            await _remove(processes)


def _open_project(project: Path, config_file: Path | None, temporary: Path) -> tuple[Path, Path]:
    """Return the folder of a project, which may be a package of one, and its configuration."""
    if project.is_file():
        (temporary / "project").mkdir()
        package.unpack(project, temporary / "project")
        found = sorted([*(temporary / "project").glob("config.json"), *(temporary / "project").glob("*/config.json")])
        if not found:
            raise InvalidInput(f"{project} has no config.json; give the folder of a project, or a package of it")
        project = found[0].parent
    return project, config_file or project / "config.json"


def _waiting_for(config: Path, turrets: int, temporary: Path) -> Path:
    """Write and return a configuration whose run waits for all deployed turrets."""
    given = configuration.read(config)
    wanted = given.get("min_turrets")
    given["min_turrets"] = max(turrets, wanted if isinstance(wanted, int) else 1)
    changed = temporary / "config.json"
    changed.write_text(json.dumps(given), encoding="utf-8")
    return changed


async def _create(processes: Sequence[_Process], project: Path, temporary: Path, required: Sequence[str]) -> None:
    """Upload and create all processes. All requests end before an error is raised, so that all can be removed."""

    async def create(number: int, process: _Process) -> None:
        target = temporary / str(number)
        await asyncio.to_thread(_fill, target, process.turret, project, required)
        source = await _upload(process.rest, target)
        wanted = {"app": process.app, "node": process.node, "process_type": _TYPE, "source_url": source}
        await process.rest.post("/create-process", wanted | {"grace": _GRACE_SECONDS})

    creating = asyncio.gather(*(create(*each) for each in enumerate(processes)), return_exceptions=True)
    try:
        done = await asyncio.shield(creating)
    finally:
        await creating
    for error in done:
        if isinstance(error, BaseException):
            raise error


def _fill(target: Path, turret: dict[str, Any], project: Path, required: Sequence[str]) -> None:
    """Write the folder of a program that runs a turret."""
    target.mkdir()
    package.pack(project, turret, target / _TURRET)
    command = f"sh {_SCRIPT}" if required else _COMMAND
    (target / PROCFILE).write_text(f"{_TYPE}: {command}\n", encoding="utf-8")
    if required:
        (target / _SCRIPT).write_text(_FOUND, encoding="utf-8")
        (target / "requirements.txt").write_text("".join(f"{each}\n" for each in required), encoding="utf-8")


async def _upload(rest: RestClient, folder: Path) -> str:
    packing = source_archive(folder)
    archive = await asyncio.to_thread(packing.__enter__)
    try:

        async def chunks() -> AsyncIterator[bytes]:
            with archive.path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

        return str((await rest.upload("/upload-archive", chunks(), archive.size))["source_url"])
    finally:
        packing.__exit__(None, None, None)


async def _ready(rest: RestClient, known: set[str]) -> Counter[str]:
    """Return the names of the new turrets that are ready, with their numbers; `known` are those from before."""
    turrets = (await rest.get("/turrets"))["turrets"]
    new = [turret for turret in turrets if turret["uuid"] not in known and turret["alive"]]
    return Counter(turret["name"] for turret in new if turret["status"].lower() == "ready")


async def _until_ready(rest: RestClient, processes: Sequence[_Process], known: set[str], address: str) -> None:
    """Wait until all turrets are connected; raises DeploymentFailed when one cannot start or does not connect."""
    wanted = Counter(process.turret["name"] for process in processes)
    loop, deadline = asyncio.get_running_loop(), math.inf
    while True:
        if await _all_run(processes):
            missing = wanted - await _ready(rest, known)
            if not missing:
                return
            deadline = min(deadline, loop.time() + _READY_SECONDS)
            if loop.time() >= deadline:
                break
        await asyncio.sleep(_POLL_SECONDS)
    there = ", ".join(sorted({URL(process.rest.url).authority for process in processes}))
    raise DeploymentFailed(
        f"{', '.join(missing)} did not connect to the headquarters within {_READY_SECONDS:g} s. Can {address} and its "
        f"ports be reached from {there}? Say with --hq-address where it is for them"
    )


async def _all_run(processes: Sequence[_Process]) -> bool:
    """Return whether all processes run; raises DeploymentFailed, with its last lines, for one that cannot start."""
    states = await asyncio.gather(*(each.rest.get(f"/process-status/{quote(each.slug)}") for each in processes))
    for process, status in zip(processes, states, strict=True):
        if status["state"] in _NOT_STARTED:
            why = "\n".join(line.plain for line in remarks(status))
            raise DeploymentFailed(f"the turret {process} cannot be started:\n{why}")
    return all(status["state"] == model.RUNNING for status in states)


async def _remove(processes: Sequence[_Process]) -> None:
    """Remove all processes, and report those that cannot be removed."""

    async def remove(process: _Process) -> None:
        try:
            await process.rest.post(f"/delete-process/{quote(process.slug)}", {})
        except RemoteError as error:
            if error.status != 404:
                way = command_line(process.rest, "stop", "--remove", process.slug)
                printing.say(f"the turret {process} is left behind: {error}. Remove it with {way}")

    await asyncio.gather(*map(remove, processes))
