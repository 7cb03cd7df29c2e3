"""The routes of the feature `commands`."""

from __future__ import annotations

from typing import Any

from smartmob.commands import model
from smartmob.commands.routes.handlers import CommandHandlers, JobsPage, JobsQuery, OutputQuery
from smartmob.commands.routes.line_sink import Line
from smartmob.commands.service import CommandsService
from smartmob.kernel.auth.model import CONTROL
from smartmob.kernel.features import KernelParts
from smartmob.kernel.http.routing import JSON, NDJSON, TEXT, Answer, Body, Route, RouteTable, answer


def table(service: CommandsService, dependencies: KernelParts) -> RouteTable:
    """Return the routes of the feature."""
    h = CommandHandlers(service, dependencies)
    no_job = Answer("There is no such job.")
    return RouteTable(
        "commands",
        (
            Route(
                "GET", "/commands", h.commands, "commands",
                "All commands with their parameters. As a WebSocket: call commands.",
                {200: answer(list[model.CommandDescription]), 101: Answer("The WebSocket is open.")},
                socket_roles=(CONTROL,),
            ),
            Route(
                "POST", "/commands/{name}", h.call, "call_command",
                "Run a command. The body has its arguments: by name in an object, or by position in a list.",
                {200: answer(Line, "The replies of the command, one JSON object in a line.", NDJSON),
                 404: Answer("There is no such command.")},
                Body({JSON: dict[str, Any] | list[Any]}, required=False),
            ),
            Route(
                "GET", "/jobs", h.jobs, "jobs", "Running and ended jobs, newest first.",
                {200: answer(JobsPage)}, query=JobsQuery,
            ),
            Route("GET", "/jobs/{id}", h.job, "job", "One job.", {200: answer(model.Job), 404: no_job}),
            Route(
                "GET", "/jobs/{id}/output", h.output, "job_output",
                "The output of a job from an offset on. The header X-Output-From is the offset of the first byte, "
                "larger than the requested one where output is no longer kept.",
                {200: answer(str, "The bytes.", TEXT), 404: no_job,
                 307: Answer("Another service on the database has the output: it is at Location."),
                 409: Answer("The job did not keep its streams separate.")},
                query=OutputQuery,
            ),
        ),
    )  # fmt: skip
