"""`smartmob keys`: pairs of CURVE keys, with which turrets and their headquarters encrypt their messages."""

from __future__ import annotations

import os
from pathlib import Path

import click

from smartmob.cli.command_group import CommandGroup
from smartmob.errors import InvalidInput, NotFound, StartupError
from smartmob.settings import secret


@click.group("keys", cls=CommandGroup)
def command() -> None:
    """Keys that encrypt the messages of turrets and their headquarters (CURVE)."""


@command.command("new")
@click.argument("name", type=click.Path(path_type=Path), default="hq")
def new(name: Path) -> None:
    """Make a pair for a headquarters: NAME.key stays with it, NAME.pub goes to the turrets."""
    from smartmob.turrets.turret import keys

    public, private = keys.pair()
    _write(name.with_name(f"{name.name}.key"), private, 0o600)
    _write(name.with_name(f"{name.name}.pub"), public, 0o644)
    click.echo(f"{name}.key   secret: smartmob serve --hq --hq-curve-key-file {name}.key")
    click.echo(f"{name}.pub   public: smartmob turret --hq-key-file {name}.pub")


@command.command("turret")
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--list", "keys_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Add the public key to this list of turrets that may connect.")  # fmt: skip
def turret(name: Path, keys_file: Path | None) -> None:
    """Make a pair for a turret: NAME.key stays with it, its public key goes to the list of the headquarters."""
    from smartmob.turrets.turret import keys

    public, private = keys.pair()
    _write(name.with_name(f"{name.name}.key"), private, 0o600)
    _write(name.with_name(f"{name.name}.pub"), public, 0o644)
    click.echo(f"{name}.key   secret: smartmob turret --key-file {name}.key")
    click.echo(f"{name}.pub   public: smartmob keys allow FILE {public} {name.name}")
    if keys_file is not None:
        _allow(keys_file, public, name.name)


@command.command("allow")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("key")
@click.argument("name", default="")
def allow(file: Path, key: str, name: str) -> None:
    """Add the public KEY of a turret to the list in FILE (smartmob serve --hq --hq-turret-keys FILE)."""
    _allow(file, key, name)


@command.command("revoke")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("turret")
def revoke(file: Path, turret: str) -> None:
    """Remove the TURRET with this public key or name from the list in FILE; it is rejected a second later."""
    from smartmob.turrets.hq.key_list import KEY_LENGTH, read_keys

    gone = [key for key, name in read_keys(file).items() if turret in (key, name)]
    if not gone:
        raise NotFound(f"{file} has no key or name {turret}")
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()[:KEY_LENGTH] not in gone]
    _replace(file, "".join(f"{line}\n" for line in lines))
    for key in gone:
        click.echo(f"revoked {key}")


@command.command("list")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def list_keys(file: Path) -> None:
    """Print the keys and names of the turrets in the list FILE."""
    from smartmob.turrets.hq.key_list import read_keys

    for key, name in read_keys(file).items():
        click.echo(f"{key} {name}".rstrip())


@command.command("public")
@click.argument("file", type=click.Path(path_type=Path))
def public(file: Path) -> None:
    """Print the public key that belongs to the secret one in FILE."""
    from smartmob.turrets.turret import keys

    try:
        click.echo(keys.public_of(secret(file, "FILE")))
    except InvalidInput as error:
        raise InvalidInput(f"{file}: {error}") from None


def _allow(file: Path, key: str, name: str) -> None:
    """Add a key to a list unless it is there already."""
    from smartmob.turrets.hq.key_list import is_key, read_keys
    from smartmob.turrets.protocol import printable

    if not is_key(key):
        raise InvalidInput(f"{key} is not a public CURVE key, which has 40 characters of Z85")
    if file.exists() and key in read_keys(file):
        return
    try:
        with file.open("a") as lines:
            lines.write(f"{key} {printable(name)}".rstrip() + "\n")
    except OSError as error:
        raise StartupError(f"{file} cannot be written: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically, with its owner and permissions, so that readers see the old or the new content."""
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.new")
    try:
        before = path.stat()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), before.st_mode & 0o777)
            if before.st_uid != os.geteuid():
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        raise StartupError(f"{path} cannot be written: {error.strerror}") from None


def _write(path: Path, text: str, mode: int) -> None:
    """Write a private file. An existing file is never replaced, because it may be the only copy of a key."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise StartupError(
            f"{path} exists already, and a replaced key would be lost: name another file, or move this one"
        ) from None
    except OSError as error:
        raise StartupError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
