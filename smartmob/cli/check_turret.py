"""`smartmob check-turret`: checks whether a program in any language follows the turret protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import msgspec

from smartmob.cli import printing
from smartmob.cli.number_options import Number
from smartmob.cli.server_options import as_json
from smartmob.cli.stopping_signals import cancelled_by_signals
from smartmob.errors import InvalidInput

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow", "not supported": "dim"}
_LONGEST_PATIENCE = 600  # seconds


@click.command(
    "check-turret",
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": False},
)
@click.argument("turret_command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--script", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Test script for the configuration, instead of one in Python that requests {url}.")  # fmt: skip
@click.option("--cannons", type=click.IntRange(1, 1000), default=3, show_default=True, metavar="N",
              help="Cannons in the configuration.")  # fmt: skip
@click.option("--rampup", type=Number(0, 60), default=1.0, show_default=True, metavar="SECONDS",
              help="Rampup in the configuration.")  # fmt: skip
@click.option("--run-time", type=Number(0.5, 600), default=2.0, show_default=True, metavar="SECONDS",
              help="Least duration of the first run.")  # fmt: skip
@click.option("--patience", type=Number(1, _LONGEST_PATIENCE), default=15.0, show_default=True,
              metavar="SECONDS", help="Time limit for each step of the turret.")  # fmt: skip
@click.option("--timeout", type=Number(1, 3600), default=180.0, show_default=True, metavar="SECONDS",
              help="Time after which the check ends as failed.")  # fmt: skip
@click.option("--no-target", is_flag=True, help="The transactions of the script do not request {url}.")
@click.option("--junit", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE",
              help="Write the checks as JUnit XML, too.")  # fmt: skip
@as_json
def command(
    turret_command: tuple[str, ...], no_target: bool, timeout: float, junit: Path | None, as_json: bool, **options: Any
) -> int:
    """Check whether COMMAND is a turret that follows the turret protocol.

    Starts a headquarters and an HTTP server on free ports of 127.0.0.1, and COMMAND several times. In COMMAND, {config}
    is the path of its configuration; {tar} its package; {script}, {hq_address}, {hq_publisher}, {hq_rc} and {url} are
    its values. Without any of these, the path of the configuration is added at the end. The same values are in the
    variables TURRET_CONFIG, TURRET_TAR and so on. Options of check-turret come before COMMAND. Each transaction must be
    one GET of {url}.

    Ends with 0 if all rules are followed, 1 if one is broken, 2 if COMMAND cannot be started. Missing optional parts of
    the protocol are listed as not supported, and do not count as failures.
    """
    from smartmob.turrets.conformance.turret_check import CheckOptions, TurretCheck

    check = TurretCheck(
        CheckOptions(command=turret_command, limit=timeout, target=not no_target, **options),
        lambda text: None if as_json else printing.say(text),
    )
    checks = asyncio.run(_interruptible(check))
    if junit is not None:
        _write_junit(junit, turret_command, checks)
    failed = [one for one in checks if one.result == "failed"]
    if as_json:
        printing.print_json({"command": turret_command, "passed": not failed, "checks": msgspec.to_builtins(checks)})
    else:
        _print(checks)
    return 1 if failed else 0


async def _interruptible(check: Any) -> Any:
    """Run the check and return its result; a signal ends it like CTRL-C, so that it leaves no folder."""
    try:
        with cancelled_by_signals():
            return await check.run()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _print(checks: Sequence[Any]) -> None:
    rows = (
        (
            printing.plain(one.result, _STYLES[one.result]),
            one.rule,
            one.says if one.result == "passed" else f"{one.says}: {one.why}" if one.why else one.says,
        )
        for one in checks
    )
    printing.print_table("", ("", "Rule", "What it says"), rows)
    for one in checks:
        if one.result == "failed" and one.frame:
            printing.say(f"\n{one.rule}: {one.frame}")
    counts = {result: sum(1 for one in checks if one.result == result) for result in _STYLES}
    printing.say("\n" + ", ".join(f"{count} {result}" for result, count in counts.items() if count))


def _write_junit(path: Path, command: Sequence[str], checks: Sequence[Any]) -> None:
    """Write the checks as a test suite; raises InvalidInput."""
    counts = {"tests": len(checks), "failures": 0, "errors": 0, "skipped": 0}
    suite = ElementTree.Element("testsuite", name="check-turret")
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="command", value=_xml(" ".join(command)))
    for one in checks:
        _add_case(suite, counts, one)
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    try:
        path.write_bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from None


def _add_case(suite: ElementTree.Element, counts: dict[str, int], check: Any) -> None:
    """Add the test case of a check, and count it if it has not passed."""
    case = ElementTree.SubElement(suite, "testcase", classname="check-turret", name=check.rule)
    if check.result == "failed":
        counts["failures"] += 1
        ElementTree.SubElement(case, "failure", message=_xml(check.why)).text = _xml(f"{check.says}\n{check.frame}")
    elif check.result != "passed":
        counts["skipped"] += 1
        ElementTree.SubElement(case, "skipped", message=_xml(f"{check.result}: {check.why}"))


def _xml(text: str) -> str:
    """Return a text without characters that XML 1.0 forbids."""
    return "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in text)
