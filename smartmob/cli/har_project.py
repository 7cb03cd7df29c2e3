"""`smartmob har-to-project`: a recording of a browser becomes the project of a load test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from smartmob.cli import printing
from smartmob.cli.load_project import LONGEST_RUN_SECONDS
from smartmob.cli.number_options import Number
from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.turrets import har_script

_SCRIPT = "test_scripts/v_user.py"
_MOST_BYTES = 512 * 1024 * 1024  # of a recording


_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+")
"""The name of a header (RFC 9110, section 5.6.2), and that of a host."""


def _names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of headers or hosts; an address would match no host."""
    for name in names:
        if _NAME.fullmatch(name.replace(":", "") if name.count(":") > 1 else name) is None:  # ::1 is a host, too
            raise click.BadParameter(f"{name!r} is not a host name; leave out schemes, ports, paths and values")
    return names


@click.command("har-to-project", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recording", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option("--all-hosts", is_flag=True, help="Also fire at hosts other than that of the first request.")
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME", callback=_names, help="Also fire at this host; repeatable."
)
@click.option("--keep-header", "--keep-headers", "kept", multiple=True, metavar="NAME", callback=_names,
              help="Copy this header although it may have a secret; repeatable.")  # fmt: skip
@click.option("--think/--no-think", default=True, show_default=True, help="Wait between requests as recorded.")
@click.option("--most-think", type=Number(0, 86_400), default=10.0, show_default=True, metavar="SECONDS",
              help="The longest wait between two requests.")  # fmt: skip
@click.option("--cannons", type=click.IntRange(1, 1_000_000), default=1, show_default=True, help="Number of users.")
@click.option("--run-time", type=Number(1, LONGEST_RUN_SECONDS), default=30, show_default=True, metavar="SECONDS",
              help="Duration of the load.")  # fmt: skip
def command(
    recording: Path,
    folder: Path,
    all_hosts: bool,
    hosts: tuple[str, ...],
    kept: tuple[str, ...],
    think: bool,
    most_think: float,
    cannons: int,
    run_time: float,
) -> None:
    """Turn the recording FILE (HAR of a browser or proxy) into the project NAME, whose script sends its requests.

    Cookies, tokens, passwords and the like are not copied: their values go into config.json, under keys that the
    command prints.
    """
    if folder.exists():
        raise InvalidInput(f"{folder} exists already; give a new name")
    try:
        if recording.stat().st_size > _MOST_BYTES:
            raise InvalidInput(f"{recording} has more than {_MOST_BYTES // 1024**2} MiB; record less")
        found = har_script.read(recording.read_bytes(), all_hosts=all_hosts, hosts=hosts, keep_headers=kept)
    except InvalidInput as error:
        raise InvalidInput(f"{recording}: {error}") from None
    except OSError as error:
        raise InvalidInput(f"cannot read {recording}: {error.strerror}") from None
    turret: dict[str, Any] = {"name": "recording", "cannons": cannons, "rampup": 0, "script": _SCRIPT}
    turret |= {"base_url": found.origin, **dict.fromkeys(found.secrets, "")}
    config = {"run_time": run_time, "min_turrets": 1, "turrets": [turret]}
    text = har_script.script(found, think=think, most_think=most_think)
    try:
        (folder / _SCRIPT).parent.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config, indent=4) + "\n", encoding="utf-8")
        (folder / _SCRIPT).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {folder}: {error.strerror}") from None
    printing.say(f"Wrote {folder}: {counted(len(found.requests), 'request')} to {found.origin} in {_SCRIPT}")
    for kind, count, example in found.left_out.items():
        printing.say(f"  {count} left out, {kind}: {example}")
    if found.secrets:
        printing.say(f"  values that may be secret are left out; put them into config.json: {', '.join(found.secrets)}")
