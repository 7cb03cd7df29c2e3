"""Turrets as processes of other services: deployed for a run, and removed in every case."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from yarl import URL

from smartmob.cli import printing
from smartmob.cli.node_selection import SelectedMachine, is_address, select
from smartmob.cli.processes import remarks
from smartmob.cli.server_options import command_line
from smartmob.client.http import ConnectionBroken, RestClient
from smartmob.client.source_archive import PROCFILE, source_archive
from smartmob.errors import InvalidInput, RemoteError, SmartmobError
from smartmob.processes import model
from smartmob.turrets.turret import configuration, package

_CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.25
_READY_SECONDS = 30.0
_GRACE_SECONDS = 15.0
LEASE_SECONDS = 120.0
"""Seconds after which a machine removes a turret by itself, when the command that renews it is killed or cut off."""
_RENEWALS = 6
"""Renewals within the time of a lease, of which some may fail."""
_REMOVAL_SECONDS = 120.0
"""Seconds for which the removal of turrets is retried: a killed service or a node can return meanwhile."""
_LONGEST_PAUSE_SECONDS = 5.0
_BAD_REQUEST, _NOT_FOUND, _AWAY = 400, 404, (502, 503, 504)
"""Statuses: unknown field, unknown turret, and a machine that cannot be reached at the moment."""
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


class Deployment(msgspec.Struct, frozen=True):
    """A project to fire: its folder, its configuration, and the number of turrets that were deployed."""

    folder: Path
    config_file: Path
    turrets: int


class _DeployedTurret(msgspec.Struct):
    """A turret on a machine. It is `created` from the moment at which the machine may have it."""

    rest: RestClient
    machine: SelectedMachine
    turret: dict[str, Any]
    app: str
    node: str
    created: bool = False
    renewed: bool = False

    @property
    def slug(self) -> str:
        return f"{self.app}.{self.node}"

    def __str__(self) -> str:
        return f"{self.turret['name']} on {self.machine.name}"


async def machines(rest: RestClient, given: Sequence[str]) -> list[SelectedMachine]:
    """Return the machines of the values of `--on`: services by their addresses, or nodes by name or label.

    Raises InvalidInput, NotFound and RemoteError, also when one of the nodes is not connected.
    """
    if all("://" in part or ("=" not in part and is_address(part.strip())) for part in ",".join(given).split(",")):
        return [SelectedMachine(URL(url).authority, url, is_node=False) for url in services(",".join(given))]
    selection = await select(rest, given, starts_programs=True)
    for machine in selection.machines:
        if machine.problem:
            raise RemoteError(f"the node {machine.name} is {machine.problem}")
    if selection.left_out:
        printing.say(f"Left out, because drained: {', '.join(selection.left_out)}")
    return list(selection.machines)


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
        raise InvalidInput("--on: name each service only once")
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
            f"{way}use --hq-address to give the address at which the turrets can reach it"
        )
    return address


def _address_for(machine: SelectedMachine, listens: str, server: str) -> str:
    """Return the address at which the turrets of a machine reach the headquarters; raises InvalidInput.

    A node reaches it where it reaches the service. One that has joined a service at 127.0.0.1 is on that machine.
    """
    if not machine.is_node:
        return hq_address(listens, server, [machine.url])
    way = machine.reaches or server
    try:
        return hq_address(listens, way, [way])
    except InvalidInput as error:
        raise InvalidInput(f"the node {machine.name}: {error}") from None


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
    rest: RestClient, chosen: Sequence[SelectedMachine], project: Path, config_file: Path | None, address: str | None,
    lease: float = LEASE_SECONDS,
) -> AsyncIterator[Deployment]:  # fmt: skip
    """Deploy the turrets of a project to machines, and remove them at the end of the block.

    A machine removes its turrets when this process has not renewed them for `lease` seconds: it was killed, or lost the
    service.

    Machines get turrets in turn until each machine has one and each turret has a machine. All are connected to the
    headquarters of `rest` when the block begins. Raises InvalidInput, RemoteError and DeploymentFailed.
    """
    heard = await rest.get("/turrets")
    there = heard["headquarters"]
    if there is None:
        raise DeploymentFailed(f"{rest.url} is not a headquarters; start it with --hq (smartmob serve --hq)")
    reached = {machine.url: address or _address_for(machine, there["host"], rest.url) for machine in chosen}
    ports = {"hq_publisher": there["publish_port"], "hq_rc": there["rc_port"]}
    async with AsyncExitStack() as ends:
        temporary = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="smartmob-fire-")))
        clients = [(await ends.enter_async_context(rest.for_service(each.url)), each) for each in chosen]
        folder, config = await asyncio.to_thread(open_project, project, config_file, temporary)
        turrets = await asyncio.to_thread(package.turrets, folder, config)
        required = configuration.read(config).get("turrets_requirements", [])
        app, number = f"turrets-{secrets.token_hex(4)}", max(len(turrets), len(clients))
        processes = [
            _DeployedTurret(client, each, turret | ports | {"hq_address": reached[each.url]}, app, f"{_TYPE}.{index}")
            for index, ((client, each), turret) in enumerate(
                islice(zip(cycle(clients), cycle(turrets), strict=False), number)
            )
        ]
        renewing = asyncio.get_running_loop().create_task(_renew(processes, lease / _RENEWALS))
        try:
            await _create(processes, config.parent, temporary, required, lease)
            await _until_ready(rest, processes, {turret["uuid"] for turret in heard["turrets"]}, reached)
            printing.say(f"Ready: {', '.join(map(str, processes))}")
            yield Deployment(folder, await asyncio.to_thread(waiting_for, config, number, temporary), number)
        finally:
            renewing.cancel()
            await _remove(processes)


def open_project(project: Path, config_file: Path | None, temporary: Path) -> tuple[Path, Path]:
    """Return the folder of a project, which may be a package of one, and its configuration."""
    if project.is_file():
        (temporary / "project").mkdir()
        package.unpack(project, temporary / "project")
        found = sorted([*(temporary / "project").glob("config.json"), *(temporary / "project").glob("*/config.json")])
        if not found:
            raise InvalidInput(f"{project} has no config.json; give the folder of a project, or a package of it")
        project = found[0].parent
    return project, config_file or project / "config.json"


def waiting_for(config: Path, turrets: int, temporary: Path) -> Path:
    """Write and return a configuration whose run waits for all deployed turrets."""
    given = configuration.read(config)
    wanted = given.get("min_turrets")
    given["min_turrets"] = max(turrets, wanted if isinstance(wanted, int) else 1)
    changed = temporary / "config.json"
    changed.write_text(json.dumps(given), encoding="utf-8")
    return changed


async def _create(
    processes: Sequence[_DeployedTurret], project: Path, temporary: Path, required: Sequence[str], lease: float
) -> None:
    """Upload and create all processes. All requests end before an error is raised, so that all can be removed."""

    async def create(number: int, process: _DeployedTurret) -> None:
        target = temporary / str(number)
        await asyncio.to_thread(_fill, target, process.turret, project, required)
        source = await _upload(process.rest, target)
        wanted = {"app": process.app, "node": process.node, "process_type": _TYPE, "source_url": source}
        process.created = True
        await create_process(process.rest, wanted | {"grace": _GRACE_SECONDS}, lease)

    creating = asyncio.gather(*(create(*each) for each in enumerate(processes)), return_exceptions=True)
    try:
        done = await asyncio.shield(creating)
    finally:
        await creating
    for error in done:
        if isinstance(error, BaseException):
            raise error


async def create_process(rest: RestClient, wanted: Mapping[str, Any], lease: float) -> None:
    """Create a process with a lease, or without one on a service of an older version, which does not know leases."""
    try:
        await rest.post("/create-process", {**wanted, "lease": lease})
    except RemoteError as error:
        if error.status != _BAD_REQUEST or "`lease`" not in str(error):
            raise
        await rest.post("/create-process", dict(wanted))


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


async def ready_turrets(rest: RestClient, known: set[str]) -> Counter[str]:
    """Return the names of the new turrets that are ready, with their numbers; `known` are those from before."""
    turrets = (await rest.get("/turrets"))["turrets"]
    new = [turret for turret in turrets if turret["uuid"] not in known and turret["alive"]]
    return Counter(turret["name"] for turret in new if turret["status"].lower() == "ready")


async def _until_ready(
    rest: RestClient, processes: Sequence[_DeployedTurret], known: set[str], reached: Mapping[str, str]
) -> None:
    """Wait until all turrets are connected; raises DeploymentFailed when one cannot start or does not connect."""
    wanted = Counter(process.turret["name"] for process in processes)
    loop, deadline = asyncio.get_running_loop(), math.inf
    while True:
        if await _all_run(processes):
            missing = wanted - await ready_turrets(rest, known)
            if not missing:
                return
            deadline = min(deadline, loop.time() + _READY_SECONDS)
            if loop.time() >= deadline:
                break
        await asyncio.sleep(_POLL_SECONDS)
    raise _not_connected(missing, processes, reached)


def _not_connected(
    missing: Iterable[str], processes: Sequence[_DeployedTurret], reached: Mapping[str, str]
) -> DeploymentFailed:
    there = ", ".join(sorted({process.machine.name for process in processes}))
    addresses = " and ".join(sorted(set(reached.values())))
    return DeploymentFailed(
        f"{', '.join(missing)} did not connect to the headquarters within {_READY_SECONDS:g} s. Can {addresses} and "
        f"its ports be reached from {there}? Use --hq-address to give the address at which the turrets can reach it"
    )


async def _all_run(processes: Sequence[_DeployedTurret]) -> bool:
    """Return whether all processes run; raises DeploymentFailed, with its last lines, for one that cannot start."""
    states = await asyncio.gather(*(each.rest.get(f"/process-status/{quote(each.slug)}") for each in processes))
    for process, status in zip(processes, states, strict=True):
        if status["state"] in _NOT_STARTED:
            why = "\n".join(line.plain for line in remarks(status))
            raise DeploymentFailed(f"the turret {process} cannot be started:\n{why}")
    return all(status["state"] == model.RUNNING for status in states)


async def _renew(processes: Sequence[_DeployedTurret], seconds: float) -> None:
    """Renew the leases of all processes at this interval, until cancelled; report those that were removed meanwhile."""

    async def renew(process: _DeployedTurret) -> None:
        try:
            await process.rest.post(f"/renew-process/{quote(process.slug)}", {})
            process.renewed = True
        except RemoteError as error:
            if process.renewed and error.status == _NOT_FOUND:
                process.renewed = False
                printing.say(f"the turret {process} does not exist any more: it was removed, or could not be renewed")

    while True:
        await asyncio.sleep(seconds)
        await asyncio.gather(*(renew(process) for process in processes if process.created))


async def _remove(processes: Sequence[_DeployedTurret]) -> None:
    """Remove all processes, and report those that cannot be removed.

    An unreachable node or service is retried for a while; CTRL-C ends that.
    """
    deadline = asyncio.get_running_loop().time() + _REMOVAL_SECONDS

    async def remove(process: _DeployedTurret) -> None:
        pause, way = _POLL_SECONDS, command_line(process.rest, "stop", "--remove", process.slug)
        while True:
            try:
                await process.rest.post(f"/delete-process/{quote(process.slug)}", {})
                return
            except RemoteError as error:
                if error.status == _NOT_FOUND:
                    return
                away = error.status in _AWAY or isinstance(error, ConnectionBroken)
                if not away or asyncio.get_running_loop().time() > deadline:
                    printing.say(f"the turret {process} is left behind: {error}. Remove it with {way}")
                    return
                if pause == _POLL_SECONDS:
                    printing.say(f"the turret {process} is removed as soon as it can be: {error} (CTRL-C to leave it)")
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                printing.say(f"the turret {process} is left behind. Remove it with {way}")
                raise
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    await asyncio.gather(*(remove(process) for process in processes if process.created))
