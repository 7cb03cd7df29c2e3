"""`smartmob alerts`: rules, receivers and silences, alerts that fire and those that fired."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from smartmob.cli import printing
from smartmob.cli.command_group import CommandGroup
from smartmob.cli.durations import duration_seconds
from smartmob.cli.server_options import as_json, with_rest_client
from smartmob.cli.suggestions import meant
from smartmob.cli.timeline_marks import default_author
from smartmob.client.http import RestClient
from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.kernel.runtime import clock

_API = "/api/v1/alerts"
_SEVERITIES = ("critical", "warning", "info")

replace = click.option("--replace", is_flag=True, help="Replace a rule or receiver of this name.")


@click.group("alerts", cls=CommandGroup)
def command() -> None:
    """Alerts: list, history, rules, receivers, silences."""


@command.command()
@click.option("--check", is_flag=True, help="End with exit code 1 if an alert is firing.")
@as_json
@with_rest_client
async def ls(rest: RestClient, check: bool, as_json: bool) -> None:
    """List firing alerts, and pending ones, whose condition has not been true for long enough."""
    found = await rest.get(_API)
    if as_json:
        printing.print_json(found)
    else:
        rows = [
            ("firing", each["severity"], each["rule"], each["summary"], printing.local_time(each["fired_at"]))
            for each in found["alerts"]
        ]
        rows += [
            ("pending", None, each["rule"], each["subject"], f"for {printing.span(each['seconds'])}")
            for each in found["pending"]
        ]
        printing.print_table("Alerts", ("State", "Severity", "Rule", "What", "Since"), rows)
    if check and found["alerts"]:
        sys.exit(1)


@command.command()
@click.option("--last", default="7d", show_default=True, metavar="SPAN", help="How far back: 90s, 15m, 6h or 14d.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1_000), help="Alerts to list.")
@as_json
@with_rest_client
async def history(rest: RestClient, last: str, limit: int, as_json: bool) -> None:
    """List the alerts that fired, newest first."""
    start = clock.epoch() - duration_seconds("--last", last)
    alerts = (await rest.get(f"{_API}/history", **{"from": f"{start:.3f}", "limit": limit}))["alerts"]
    if as_json:
        printing.print_json(alerts)
        return
    rows = (
        (
            printing.local_time(each["fired_at"]),
            printing.local_time(each["resolved_at"]) if each["resolved_at"] else "firing",
            each["rule"],
            each["summary"],
            each["reason"],
        )
        for each in alerts
    )
    printing.print_table("Alerts", ("Fired", "Resolved", "Rule", "What", "Reason"), rows)


@command.command()
@click.argument("name")
@click.argument("condition")
@click.option("--on", "subjects", multiple=True, metavar="PATTERN", help="Subject, such as rack*; repeatable.")
@click.option("--to", "receivers", multiple=True, metavar="RECEIVER", help="Receiver; repeatable.  [default: all]")
@click.option(
    "--severity", type=click.Choice(_SEVERITIES), default="warning", show_default=True, help="Severity of its alerts."
)
@click.option(
    "--repeat", metavar="SPAN", help="Notify again every 1h, 1d, … while the alert is firing; without it, once."
)
@click.option("--no-resolved", is_flag=True, help="Send no notification when an alert is resolved.")
@replace
@with_rest_client
async def add(
    rest: RestClient,
    name: str,
    condition: str,
    subjects: Sequence[str],
    receivers: Sequence[str],
    severity: str,
    repeat: str | None,
    no_resolved: bool,
    replace: bool,
) -> None:
    """Add a rule, for instance busy 'cpu > 90 for 5m'."""
    rule = {
        "condition": condition,
        "subjects": subjects,
        "receivers": receivers,
        "severity": severity,
        "repeat": None if repeat is None else duration_seconds("--repeat", repeat),
        "resolved": not no_resolved,
    }
    stored = await rest.put(f"{_API}/rules/{quote(name, safe='')}", rule, replace=str(replace).lower())
    printing.say(f"The rule {name} is: {stored['condition']}")
    known = [each["name"] for each in (await rest.get(f"{_API}/receivers"))["receivers"]]
    missing = [each for each in receivers if each not in known]
    if missing or not known:
        which = f"receiver {missing[0]}" if missing else "receiver"
        printing.say(f"There is no {which} yet: add one with smartmob alerts receiver add NAME ADDRESS.")


@command.command()
@as_json
@with_rest_client
async def rules(rest: RestClient, as_json: bool) -> None:
    """List the rules."""
    found = (await rest.get(f"{_API}/rules"))["rules"]
    if as_json:
        printing.print_json(found)
        return
    rows = (
        (
            each["name"],
            each["condition"],
            ", ".join(each["subjects"]) or "all",
            ", ".join(each["receivers"]) or "all",
            each["severity"],
            each["source"],
        )
        for each in found
    )
    printing.print_table("Rules", ("Name", "Condition", "On", "To", "Severity", "Source"), rows)


@command.command()
@click.argument("name")
@with_rest_client
async def rm(rest: RestClient, name: str) -> None:
    """Remove a rule; its alerts are resolved."""
    async with _meant(rest, name, "rules"):
        await rest.delete(f"{_API}/rules/{quote(name, safe='')}")
    printing.say(f"Removed the rule {name}.")


@command.command()
@click.argument("receiver")
@with_rest_client
async def test(rest: RestClient, receiver: str) -> None:
    """Send a test message to a receiver."""
    async with _meant(rest, receiver, "receivers"):
        await rest.post(f"{_API}/receivers/{quote(receiver, safe='')}/test", None)
    printing.say("The message is being sent; smartmob alerts messages shows the outcome.")


@command.command()
@click.argument("subject", default="*")
@click.option("--rule", default="*", metavar="PATTERN", help="Only alerts of these rules.")
@click.option("--for", "span", metavar="SPAN", help="How long: 90s, 15m, 6h or 14d.")
@click.option("--text", default="", help="The reason.")
@click.option("--author", help="Author; your name on this machine if not given.")
@click.option("--ls", "listed", is_flag=True, help="List the silences instead.")
@click.option("--end", metavar="ID", help="End a silence instead.")
@with_rest_client
async def silence(
    rest: RestClient,
    subject: str,
    rule: str,
    span: str | None,
    text: str,
    author: str | None,
    listed: bool,
    end: str | None,
) -> None:
    """Hold back notifications about SUBJECT, a pattern such as rack*."""
    if end is not None:
        async with _meant(rest, end, "silences"):
            await rest.delete(f"{_API}/silences/{quote(end, safe='')}")
        printing.say("Ended.")
        return
    if listed:
        found = (await rest.get(f"{_API}/silences"))["silences"]
        rows = (
            (
                each["subject"],
                each["rule"],
                printing.local_time(each["until"]),
                each["author"],
                each["text"],
                each["id"],
            )
            for each in found
        )
        printing.print_table("Silences", ("Subject", "Rule", "Until", "Author", "Reason", "Id"), rows)
        return
    if span is None:
        raise click.UsageError("say how long with --for, such as --for 2h")
    author = default_author() if author is None else author
    document = {"subject": subject, "rule": rule, "seconds": duration_seconds("--for", span), "text": text}
    made = await rest.post(f"{_API}/silences", document | {"author": author})
    printing.say(f"Silenced until {printing.local_time(made['until'])}; end it with --end {made['id']}.")


@command.command()
@click.option("--failed", is_flag=True, help="Only notifications that could not be delivered.")
@as_json
@with_rest_client
async def messages(rest: RestClient, failed: bool, as_json: bool) -> None:
    """List the newest notifications with their outcome."""
    found = (await rest.get(f"{_API}/notifications", failed=str(failed).lower()))["notifications"]
    if as_json:
        printing.print_json(found)
        return
    rows = (
        (printing.local_time(each["made_at"]), each["receiver"], each["kind"], _outcome(each), each["error"])
        for each in found
    )
    printing.print_table("Notifications", ("Created", "Receiver", "Kind", "Outcome", "Error"), rows)


def _outcome(notification: dict[str, Any]) -> str:
    if notification["sent_at"]:
        return "sent"
    return "failed" if notification["failed_at"] else f"waiting, {counted(notification['attempts'], 'attempt')}"


@command.command()
@with_rest_client
async def retry(rest: RestClient) -> None:
    """Resend notifications that could not be delivered."""
    found = await rest.post(f"{_API}/notifications/retry", None)
    printing.say(f"{counted(found['notifications'], 'notification')} to be sent again.")


@command.group()
def receiver() -> None:
    """Receivers of notifications: add, list, remove."""


@receiver.command("add")
@click.argument("name")
@click.argument("address")
@click.option(
    "--format",
    "form",
    type=click.Choice(("json", "slack")),
    default="json",
    help="Format of the messages to a webhook.",
)
@click.option("--secret-file", type=click.Path(path_type=Path), help="File with the secret that signs its messages.")
@replace
@with_rest_client
async def receiver_add(
    rest: RestClient, name: str, address: str, form: str, secret_file: Path | None, replace: bool
) -> None:
    """Add a webhook (https://…) or mail addresses (mailto:a@example.com,b@example.com).

    An address that is `-` is read from standard input, so that it is not in the list of processes.
    """
    document = {
        "address": sys.stdin.readline().strip() if address == "-" else address,
        "format": form,
        "secret": "" if secret_file is None else _secret(secret_file),
    }
    stored = await rest.put(f"{_API}/receivers/{quote(name, safe='')}", document, replace=str(replace).lower())
    printing.say(f"The receiver {name} is {stored['address']}; try it with smartmob alerts test {name}.")


@receiver.command("ls")
@as_json
@with_rest_client
async def receiver_ls(rest: RestClient, as_json: bool) -> None:
    """List the receivers, without their secrets."""
    found = (await rest.get(f"{_API}/receivers"))["receivers"]
    if as_json:
        printing.print_json(found)
        return
    rows = ((each["name"], each["address"], each["format"], each["signed"], each["source"]) for each in found)
    printing.print_table("Receivers", ("Name", "Address", "Format", "Signed", "Source"), rows)


@receiver.command("rm")
@click.argument("name")
@with_rest_client
async def receiver_rm(rest: RestClient, name: str) -> None:
    """Remove a receiver; its waiting notifications are not delivered."""
    async with _meant(rest, name, "receivers"):
        await rest.delete(f"{_API}/receivers/{quote(name, safe='')}")
    printing.say(f"Removed the receiver {name}.")


_LISTS = {"rules": "smartmob alerts rules", "receivers": "smartmob alerts receiver ls",
          "silences": "smartmob alerts silence --ls"}  # fmt: skip


def _meant(rest: RestClient, name: str, kind: str) -> AbstractAsyncContextManager[None]:
    async def names() -> list[str]:
        return [str(each.get("name") or each.get("id")) for each in (await rest.get(f"{_API}/{kind}"))[kind]]

    return meant(name, names, f"`{_LISTS[kind]}` lists them")


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--secret-file {path}: cannot be read: {error}") from None
