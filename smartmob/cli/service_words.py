"""The words of `smartmob serve` on a terminal: what it is at its start, and its log events as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartmob import __version__
from smartmob.settings import Settings

_QUIET = frozenset(("bind", "database.migrated", "process.limits_chosen"))
"""Events at the info level that say nothing to a person at a terminal, or that `started` says."""

_SENTENCES = {
    "database.started": "the database is running",
    "database.stopped": "the database has stopped",
    "stop": "stopping after {reason}; active requests are answered first",
    "http.access": "{method} {path} -> {outcome} in {milliseconds}",
    "job.started": "job {job} of {client} is running: {command}",
    "job.ended": "job {job} has ended: {state}",
}
_LEADING = ("@timestamp", "level", "event")
_TIME = slice(11, 19)  # HH:MM:SS of a time in ISO 8601


def announced() -> str:
    """Return the message before a start, which takes some seconds the first time."""
    return f"smartmob {__version__} is starting ..."


def started(settings: Settings, host: str, port: int, variable: str | None, *, loopback: bool) -> str:
    """Return where the service answers, what it uses, and how to stop it, in lines.

    `variable` is the environment variable that the token came from, or None for the one of its file.
    """
    scheme = "https" if settings.tls_cert is not None else "http"
    name = f"[{host}]" if ":" in host else host
    rows = {
        "address": f"{scheme}://{name}:{port}",
        "data folder": str(settings.data_dir),
        "database": _database(settings),
        "token": _token(settings, variable, loopback=loopback),
    }
    width = max(map(len, rows))
    return "\n".join([*(f"  {label:{width}}  {text}" for label, text in rows.items()), "CTRL-C stops."])


def _database(settings: Settings) -> str:
    if settings.database.url is None:
        return "its own PostgreSQL, in the data folder"
    from smartmob.processes.protocol import shown_address

    return shown_address(settings.database.url)


def _token(settings: Settings, variable: str | None, *, loopback: bool) -> str:
    if settings.token is None:
        return "none: programs of this machine can connect" if loopback else "none: ANY machine can run programs here"
    network = "" if loopback else "; other machines can connect with it"
    return f"required, the one of {variable or settings.token_file}{network}"


def sentence(event: Mapping[str, Any]) -> str:
    """Return a log event as a line for a person, with the lines of its exception; empty for one that says nothing."""
    level, name = event.get("level", "info"), str(event.get("event", ""))
    if level == "info" and name in _QUIET:
        return ""
    fields = {key: value for key, value in event.items() if key not in _LEADING}
    exception = fields.pop("exception", None)
    prefix = "" if level == "info" else f"{level}: "
    line = f"{str(event.get('@timestamp', ''))[_TIME]}  {prefix}{_text(name, fields)}"
    shown = "".join(character if character.isprintable() else "\ufffd" for character in line)
    return shown if exception is None else f"{shown}\n{exception}"


def _milliseconds(fields: Mapping[str, Any]) -> str:
    duration = fields.get("duration")
    return f"{duration * 1000:.1f} ms" if isinstance(duration, float) else ""


def _text(name: str, fields: Mapping[str, Any]) -> str:
    """Return the sentence of an event; one that has none, or not its fields, is shown by its name and fields."""
    template = _SENTENCES.get(name)
    try:
        text = "" if template is None else template.format(**fields, milliseconds=_milliseconds(fields))
    except (KeyError, ValueError):
        text = ""
    if text:
        return text
    words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in fields.items())
    return name.replace(".", " ").replace("_", " ") + (f": {words}" if words else "")
