"""`smartmob turret`: a turret, which fires for a headquarters. It needs no module of the service."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click


@click.command("turret", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Configuration of the turret.",
)
@click.option("--tar", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Package of the turret.")
@click.option("--hq-address", metavar="HOST", help="Address of the headquarters, instead of the configured one.")
@click.option("--hq-publisher", type=int, metavar="N", help="Its port for orders, instead of the configured one.")
@click.option("--hq-rc", type=int, metavar="N", help="Its port for results, instead of the configured one.")
@click.option("--hq-key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Public CURVE key of the headquarters: the connection is encrypted.")  # fmt: skip
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Secret CURVE key of this turret, which a headquarters with --hq-turret-keys knows.")  # fmt: skip
@click.option("--once", is_flag=True, help="End after one run: with 0 if the headquarters has confirmed all results of "
              "this turret, else with 1.")  # fmt: skip
def command(
    config_file: Path | None,
    tar: Path | None,
    hq_key_file: Path | None,
    key_file: Path | None,
    *,
    once: bool,
    **overrides: Any,
) -> int:
    """Run a turret: wait for the orders of a headquarters, fire, and send the results.

    It accepts configuration files and packages of OCT unchanged (`smartmob pack-turrets` makes them). The order `kill`,
    CTRL-C or SIGTERM ends it; results of cannons that fired until then are sent, for 5 seconds at most.
    """
    if (config_file is None) == (tar is None):
        raise click.UsageError("Give either --config-file or --tar.")
    from smartmob.turrets.turret import package

    given = {key: value for key, value in overrides.items() if value is not None}
    with ExitStack() as ends:
        if tar is not None:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="smartmob-turret-")))
            packed = package.from_tar(tar, folder, given)
        else:
            assert config_file is not None
            packed = package.from_config(config_file, given)
        return _run(packed, hq_key_file, key_file, once=once)


def _run(packed: Any, hq_key_file: Path | None, key_file: Path | None, *, once: bool) -> int:
    from smartmob.turrets.turret import event_loop, keys
    from smartmob.turrets.turret.session import TurretSession

    curve = keys.keys(packed, hq_key_file, key_file)

    async def main() -> int:
        turret = TurretSession(packed, curve, _say, once=once)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, turret.quit)
        return await turret.run()

    with event_loop.runner() as runner:
        return runner.run(main())


def _say(text: str) -> None:
    click.echo(f"smartmob turret: {text}", err=True)
