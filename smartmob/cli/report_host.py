"""`smartmob report-host`: reports the load of this machine to a service. It imports no module of the service."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from pathlib import Path
from urllib.parse import quote

import click
import platformdirs

from smartmob.cli.number_options import Number
from smartmob.environment import environment
from smartmob.errors import SettingsError, StartupError
from smartmob.options import PREFIX
from smartmob.settings import secret

_BACKLOG_MB = 64


@click.command("report-host")
@click.option("--to", "url", metavar="URL", required=True, envvar=PREFIX + "SERVER", help="Address of the service.")
@click.option("--name", help="Name of this machine.  [default: the machine's name]")
@click.option("--interval", default=1.0, show_default=True, type=Number(0.1, 3600), help="Seconds between samples.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="File that holds the machine's password.  [default: one is created]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar=PREFIX + "TOKEN_FILE",
    help="File that holds the service's token, if registering needs it (or set SMARTMOB_TOKEN).",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    envvar=PREFIX + "CA_FILE",
    help="File of the certificates to trust, if no public authority has signed that of the service.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Folder of the password and of unsent samples.  [default: the platform's user state folder]",
)
@click.option(
    "--disk",
    "disks",
    multiple=True,
    metavar="NAME",
    envvar=PREFIX + "DISK",
    help="Folder such as /data, to measure the use of its file system, or disk such as nvme0n1 or sd*, to measure its "
    "traffic; repeatable.  [default: / and all physical disks]",
)
@click.option(
    "--net",
    "networks",
    multiple=True,
    metavar="NAME",
    envvar=PREFIX + "NET",
    help="Network interface whose traffic is counted, such as eth0 or eth*; repeatable.  [default: all physical ones]",
)
@click.option(
    "--backlog-mb",
    default=_BACKLOG_MB,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="MB of samples to keep while the service cannot be reached.",
)
def command(
    url: str,
    name: str | None,
    interval: float,
    password_file: Path | None,
    token_file: Path | None,
    ca_file: Path | None,
    state_dir: Path | None,
    disks: tuple[str, ...],
    networks: tuple[str, ...],
    backlog_mb: int,
) -> None:
    """Report the load of this machine to a service until CTRL-C, SIGINT or SIGTERM.

    The machine registers itself. While the service cannot be reached, samples are kept on disk and sent later.
    """
    from smartmob.client.backlog import Backlog
    from smartmob.client.proxies import proxy_of
    from smartmob.client.reporter import Clocks, HostCredentials, Reporter
    from smartmob.hosts.sampler import devices
    from smartmob.hosts.sampler.machine_files import Roots
    from smartmob.kernel.observability.notify import Notifier
    from smartmob.kernel.runtime import clock

    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"--to {url}: expected an address such as http://lab:8080")
    token = secret(token_file, "--token-file") if token_file else environment().get(PREFIX + "TOKEN")
    name = _checked_name(name or socket.gethostname())
    chosen = devices.choice(disks, networks)
    if wrong := devices.wrong_choice(chosen, Roots()):
        option, given, reason = wrong
        raise SettingsError(f"--{option} {given}: {reason}")
    folder = (state_dir or Path(platformdirs.user_state_path("smartmob"))) / "report-host" / quote(name, safe="")
    password = secret(password_file, "--password-file") if password_file else _own_password(folder)
    account = HostCredentials(url, name, password, token, ca_file, proxy_of(url, environment()))
    backlog = Backlog(folder / "backlog", backlog_mb * 1_000_000)

    async def run() -> None:
        reporter = Reporter(account, backlog, Clocks(clock.epoch, clock.steady), interval, _say, chosen=chosen)
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        notifier = Notifier(environment())
        notifier.ready()
        try:
            await reporter.run()
        except asyncio.CancelledError:
            notifier.stopping()
            _say("stopped")
        finally:
            notifier.close()

    asyncio.run(run())


def _checked_name(name: str) -> str:
    """Return the name of this machine; raises SettingsError for one that the service would refuse."""
    from smartmob.hosts.client_ids import is_name, name_rule

    if not is_name(name):
        raise SettingsError(
            f"--name {name!r} cannot be the name of a machine: {name_rule()}; choose another with --name"
        )
    return name


def _say(text: str) -> None:
    # It may quote text from a server.
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    click.echo(f"smartmob report-host: {shown}", err=True)


def _own_password(folder: Path) -> str:
    """Return the password of this machine, which the first call creates."""
    path = folder / "password"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return secret(path, str(path))
        with os.fdopen(descriptor, "w") as file:
            file.write(password := secrets.token_urlsafe(24))
        return password
    except OSError as error:
        raise StartupError(
            f"{path} cannot be written: {error.strerror}. Name another folder with --state-dir."
        ) from None
