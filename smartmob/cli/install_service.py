"""`smartmob install-service`: writes a unit for systemd, and prints what it does and what to do next."""

from __future__ import annotations

import importlib
import stat
import sys
from pathlib import Path

import click

from smartmob.cli import printing
from smartmob.cli.systemd_units import SystemdUnit
from smartmob.environment import environment
from smartmob.errors import StartupError

_SYSTEM_FOLDER = Path("/etc/systemd/system")
_ROLES = {
    "service": ("smartmob", "smartmob.cli.serve"),
    "agent": ("smartmob-report-host", "smartmob.cli.report_host"),
    "node": ("smartmob-node", "smartmob.cli.join"),
}


@click.command("install-service", context_settings={"ignore_unknown_options": True})
@click.option(
    "--role", type=click.Choice(tuple(_ROLES)), default="service", show_default=True,
    help="The service, the agent that reports the load of this machine, or a node of a service (--join).",
)  # fmt: skip
@click.option("--join", "join_url", metavar="URL", help="Make this machine a node of the service at this address.")
@click.option("--user", is_flag=True, help="For your own systemd instead of the machine's; needs no root.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File that holds the service's token.")
@click.option("--folder", type=click.Path(path_type=Path), help="Folder to write to.  [default: where systemd looks]")
@click.option("--force", is_flag=True, help="Replace an existing unit with different content.")
@click.option("--dry-run", is_flag=True, help="Print the unit and write nothing.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    role: str,
    join_url: str | None,
    user: bool,
    token_file: Path | None,
    folder: Path | None,
    force: bool,
    dry_run: bool,
    arguments: tuple[str, ...],
) -> None:
    """Write a unit for systemd that starts the service, the reporting agent, or a node, with the machine.

    ARGUMENTS are options of `smartmob serve`, such as --host, of `smartmob report-host`, such as --to, or of
    `smartmob join`, such as --label, with --join. Nothing is started: the next steps are printed.
    """
    if join_url is not None:
        role, arguments = "node", (join_url, *arguments)
    elif role == "node":
        raise click.UsageError("--role node needs --join URL")
    name, module = _ROLES[role]
    _check(module, arguments)
    token = None if token_file is None else str(token_file.absolute())
    unit = SystemdUnit(_program(), arguments, user, token)
    text = {"service": unit.service, "agent": unit.agent, "node": unit.node}[role]()
    if dry_run:
        click.echo(text, nl=False)
        return
    if token_file is not None and not _is_file(token_file):
        printing.say(
            f"The token file {token_file} does not exist or is not readable, and the unit does not start without it. "
            f"Make it: (umask 077; openssl rand -hex 32 > {token_file})",
        )
    path = (folder or _folder(user)) / f"{name}.service"
    _write(path, text, force=force)
    printing.say(f"Wrote {path}, which explains each line. Next:")
    for step in _steps(name, role, user):
        printing.say(f"  {step}")
    if not user and (closed := _closed(Path(unit.program))) is not None:
        printing.say(
            f"Others cannot enter {closed}, so the user of the unit cannot start {unit.program}. "
            "Install smartmob where all users may read: python3 -m venv /opt/smartmob && "
            "/opt/smartmob/bin/pip install 'smartmob[server]', and then /opt/smartmob/bin/smartmob install-service",
        )


def _check(module: str, arguments: tuple[str, ...]) -> None:
    """Check the options, which the unit would otherwise refuse at each start; raises UsageError."""
    target: click.Command = importlib.import_module(module).command
    target.make_context(str(target.name), list(arguments))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _program() -> str:
    """Return the path of the installed program."""
    beside = Path(sys.executable).with_name("smartmob")
    if not beside.exists():
        raise StartupError(f"there is no {beside}; install smartmob with pip or pipx, and call it from there")
    return str(beside)


def _folder(user: bool) -> Path:
    if not user:
        return _SYSTEM_FOLDER
    return Path(environment().get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        if path.exists() and path.read_text(encoding="utf-8") != text and not force:
            raise StartupError(f"{path} exists and has different content; --force replaces it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartupError(
            f"{path} cannot be written: {error.strerror}. Run this as root, or write a user unit with --user."
        ) from None


def _steps(name: str, role: str, user: bool) -> list[str]:
    systemctl = "systemctl --user" if user else "systemctl"
    steps = [f"{systemctl} daemon-reload", f"{systemctl} enable --now {name}", f"{systemctl} status {name}"]
    if user:
        steps.insert(2, "loginctl enable-linger    # keeps it running while you are logged out")
    elif role in ("service", "node"):
        steps.insert(0, "useradd --system --home-dir /var/lib/smartmob --shell /usr/sbin/nologin smartmob")
    return steps


def _closed(program: Path) -> Path | None:
    """Return the first folder above `program` that other users may not enter, or None."""
    return next((p for p in reversed(program.parents) if not p.stat().st_mode & stat.S_IXOTH), None)
