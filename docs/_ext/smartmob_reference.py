"""Directives that write the reference from the code: what is not in the code cannot be in the reference.

`{smartmob-settings}`, `{smartmob-commands}`, `{smartmob-types}`, `{smartmob-metrics}`, `{smartmob-sample-fields}`,
`{smartmob-turret-messages}`, `{smartmob-turret-rules}` and `{smartmob-routes} ROOM` take no content. Each is Markdown
that a function below makes, parsed as if it stood in the page.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import msgspec
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from smartmob.app import build
from smartmob.cli.main import group as root_command
from smartmob.cli.serve import command as serve_command
from smartmob.client import messages
from smartmob.commands.builtin import COMMANDS
from smartmob.commands.registry import Registry
from smartmob.hosts.fields import FIELDS
from smartmob.kernel.http import problems
from smartmob.kernel.http.routing import JSON
from smartmob.options import Option
from smartmob.settings import OPTIONS, Settings
from smartmob.turrets import protocol
from smartmob.turrets.turret.configuration import TurretConfiguration
from smartmob.turrets.turret.schedule import Stage

_EVERYWHERE = {"400", "401", "403", "408", "413", "500", "503"}
_NAMES = {bool: "true or false", int: "whole number", float: "number", Path: "path", str: "text"}


@cache
def service() -> Any:
    """Return a service that is built and not started: its routes and metrics are known."""
    return build(Settings(data_dir=Path("unused")))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), line("---" for _ in head), *map(line, rows)])


# -- settings -----------------------------------------------------------------------------------------------------


def settings() -> str:
    """Return the settings: a section for each group."""
    groups = dict.fromkeys(option.group for option in OPTIONS)
    titles = {"": "The service", "database": "The database", "conplyent": "The port for clients of conplyent"}
    parts = []
    for name in groups:
        rows = (_setting(option) for option in OPTIONS if option.group == name)
        title = titles.get(name, f"The feature `{name}`")
        parts.append(f"## {title}\n\n" + _table(("Setting", "Meaning", "Default"), rows))
    return "\n\n".join(parts)


def _setting(option: Option) -> tuple[str, ...]:
    names = f"`{option.flag}`<br>`{option.variable}`<br>`{option.name}`"
    return names, f"{option.help} {_accepted(option)}", f"`{option.default_text}`" if option.default_text else "none"


def _accepted(option: Option) -> str:
    if option.choices:
        return f"One of {', '.join(f'`{choice}`' for choice in option.choices)}."
    kind = f"A list of {_NAMES[option.kind]}s" if option.repeatable else _NAMES[option.kind].capitalize()
    if option.low is None:
        return f"*{kind}.*"
    return f"*{kind}, {option.low:g} {'or more' if option.high is None else f'to {option.high:g}'}.*"


# -- commands -----------------------------------------------------------------------------------------------------


def commands() -> str:
    """Return every command with its options."""
    parts = [_command("smartmob", root_command, click.Context(root_command, info_name="smartmob"))]
    agent = click.Context(serve_command, info_name="smartmob-agent")
    parts.append(
        f"## `smartmob-agent`\n\n```text\n{serve_command.get_usage(agent)}\n```\n\n"
        "The name under which init systems and Procfiles start the service: it is `smartmob serve`, with the same "
        "options."
    )
    return "\n\n".join(parts)


def _command(name: str, command: click.Command, context: click.Context) -> str:
    help_text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    parts = [f"## `{name}`", f"```text\n{command.get_usage(context)}\n```", help_text]
    records = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    parts.append(_table(("Option", "Meaning"), ((f"`{option}`", text) for option, text in records)))
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            assert child is not None
            inner = click.Context(child, info_name=child_name, parent=context)
            parts.append(_command(f"{name} {child_name}", child, inner))
    return "\n\n".join(parts)


# -- routes -------------------------------------------------------------------------------------------------------


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the method, the path and the description of each route, those without a slash at their end left out.

    They are the same as those with one.
    """
    paths = service().document["paths"]
    for path, item in paths.items():
        for method, operation in item.items():
            if not operation["operationId"].endswith("_no_slash"):
                yield method.upper(), path, operation


def routes(feature: str) -> str:
    """Return the routes of a feature: a table for each first word of the path, or one where all of these differ."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for method, path, operation in operations():
        if operation["tags"] == [feature]:
            first = path.split("/")[1] if feature != "service" else ""
            groups.setdefault(first, []).append(_route(method, path, operation))
    if all(len(rows) == 1 for rows in groups.values()):
        groups = {"": [row for rows in groups.values() for row in rows]}
    head = ("Route", "Purpose", "Takes", "Answers")
    return "\n\n".join((f"### `/{first}`\n\n" if first else "") + _table(head, rows) for first, rows in groups.items())


def _route(method: str, path: str, operation: dict[str, Any]) -> tuple[str, ...]:
    takes = [f"`{p['name']}` ({_kind(p['schema'])})" for p in operation["parameters"] if p["in"] == "query"]
    if takes:
        takes = [f"query {', '.join(takes)}"]
    takes += _contents(operation.get("requestBody", {}))
    answers = []
    for status, response in operation["responses"].items():
        if status in _EVERYWHERE and "application/problem+json" in response.get("content", {}):
            continue
        said = "<br>".join(_contents(response)) if not _is_problem(response) else response["description"]
        answers.append(f"**{status}** {said or response['description']}")
    return f"`{method} {path}`", operation["summary"], "<br>".join(takes) or "-", "<br>".join(answers)


def _is_problem(response: dict[str, Any]) -> bool:
    return set(response.get("content", {})) == {problems.MEDIA_TYPE}


def _contents(owner: dict[str, Any]) -> list[str]:
    """Return the types of a body, with the media type where that is not JSON."""
    return [
        _kind(content["schema"]) + ("" if media == JSON else f" as `{media}`")
        for media, content in owner.get("content", {}).items()
    ]


def types() -> str:
    """Return the types of bodies with their fields."""
    parts = []
    for name, schema in sorted(service().document["components"]["schemas"].items()):
        required = schema.get("required", ())
        rows = (
            (f"`{field}`", _kind(form), "yes" if field in required else "no")
            for field, form in schema.get("properties", {}).items()
        )
        described = schema.get("description", "")
        parts.append(f"(type-{name.lower()})=\n### `{name}`\n\n{described}")
        parts.append(_table(("Field", "Type", "Required"), rows))
    return "\n\n".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    """Return a schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#type-{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    words = {"string": "text", "integer": "integer", "number": "number", "null": "null", "boolean": "true or false"}
    word = words.get(schema.get("type", ""), "object" if schema.get("type") == "object" else "anything")
    bounds = [
        f"{label} {schema[key]:,}"
        for key, label in (("minimum", "at least"), ("maximum", "at most"), ("maxLength", "up to"))
        if key in schema and abs(schema[key]) < 2**62
    ]
    return f"{word} ({', '.join(bounds)})" if bounds else word


# -- the rest -----------------------------------------------------------------------------------------------------


def prometheus_metrics() -> str:
    """Return the Prometheus metrics of the service itself, as a service that was never started counts them."""
    lines = service().kernel._metrics.text().decode().splitlines()
    helps = dict(line.removeprefix("# HELP ").split(" ", 1) for line in lines if line.startswith("# HELP "))
    kinds = dict(line.removeprefix("# TYPE ").split(" ", 1) for line in lines if line.startswith("# TYPE "))
    return _table(("Metric", "Kind", "Meaning"), ((f"`{name}`", kinds[name], text) for name, text in helps.items()))


def sample_fields() -> str:
    """Return the fields of a host sample, with their units and gauges."""
    rows = (
        (
            ", ".join(f"`{name}`" for name in (*field.aliases, field.name)),
            field.unit.value,
            field.help,
            "" if field.gauge is None else f"`{field.gauge}`",
        )
        for field in FIELDS
    )
    return _table(("Field", "Unit", "Meaning", "Prometheus (sizes in bytes)"), rows)


def turret_messages() -> str:
    """Return the messages between headquarters and turrets: a table of keys for each."""
    parts = []
    for kind in _MESSAGES:
        schema = msgspec.json.schema(kind)
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        described = " ".join((inspect.getdoc(kind) or "").split("\n"))
        parts.append(f"### `{kind.__name__}`\n\n{described}")
        required = schema.get("required", ())
        rows = (
            (f"`{key}`", _form(form), "yes" if key in required else "no")
            for key, form in schema.get("properties", {}).items()
        )
        parts.append(_table(("Key", "Type", "Required"), rows))
    return "\n\n".join(parts)


_MESSAGES = (
    *(protocol.Order, protocol.Status, protocol.Result),
    *(protocol.Briefing, protocol.RunBriefing, protocol.Report, protocol.Health),
    *(protocol.TurretPlan, protocol.RateStage, protocol.Slices, protocol.Slice),
    *(TurretConfiguration, Stage),
)


def turret_rules() -> str:
    """Return the rules that `smartmob check-turret` checks."""
    from smartmob.turrets.conformance.rules import RULES

    return _table(
        ("Name", "Rule", "Optional"), [(f"`{rule.name}`", rule.says, "yes" if rule.optional else "") for rule in RULES]
    )


def _form(schema: dict[str, Any]) -> str:
    """Return a schema in a few words, with the names of other messages as they are."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_form(part) for part in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_form(schema['items'])}"
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
        return f"object of {_form(schema['additionalProperties'])}s"
    return _kind(schema)


def remote_commands() -> str:
    """Return every command of the registry."""
    parts = []
    for command in Registry(COMMANDS):
        described = command.description
        head = messages.signature(described)
        kind = " A background command: it is a job." if described.background else ""
        parts.append(
            f"## `{described.name}`\n\n```text\n{described.name}{_own_parameters(head)}\n```\n\n{described.text}{kind}"
        )
    return "\n\n".join(parts)


def _own_parameters(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature without what every command has."""
    own = [p for p in signature.parameters.values() if p.name not in messages.OPTIONS]
    return signature.replace(parameters=own)


_WRITERS: dict[str, Callable[[], str]] = {
    "smartmob-turret-messages": turret_messages,
    "smartmob-settings": settings,
    "smartmob-commands": commands,
    "smartmob-types": types,
    "smartmob-metrics": prometheus_metrics,
    "smartmob-sample-fields": sample_fields,
    "smartmob-remote-commands": remote_commands,
    "smartmob-turret-rules": turret_rules,
}


class _Written(SphinxDirective):
    """Parses what a function has written, as if it stood in the page."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(_WRITERS[self.name](), allow_section_headings=True)


class _Routes(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(routes(self.arguments[0]), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    for name in _WRITERS:
        app.add_directive(name, _Written)
    app.add_directive("smartmob-routes", _Routes)
    return {"parallel_read_safe": True}
