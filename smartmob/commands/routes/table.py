"""The routes of the feature `commands`."""

from __future__ import annotations

from typing import Any

from smartmob.commands import model
from smartmob.commands.routes import handlers
from smartmob.commands.routes.handlers import CommandHandlers
from smartmob.commands.service import CommandsService
from smartmob.kernel.auth.model import CONTROL
from smartmob.kernel.features import Dependencies
from smartmob.kernel.http.routing import JSON, NDJSON, TEXT, Answer, Body, Route, RouteTable, answer


def table(service: CommandsService, dependencies: Dependencies) -> RouteTable:
    """Return the routes of the room."""
    h = CommandHandlers(service, dependencies)
    no_job = Answer("There is no such job.")
    return RouteTable(
        "commands",
        (
            Route(
                "GET", "/commands", h.commands, "commands",
                "What commands there are; as a WebSocket, the way to call them.",
                {200: answer(list[model.CommandDescription]), 101: Answer("The WebSocket is open.")},
                socket_roles=(CONTROL,),
            ),
            Route(
                "POST", "/commands/{name}", h.call, "call_command",
                "Run a command: parameters by name in an object, by position in a list. The answer comes as lines.",
                {200: answer(handlers.Line, "One line for each thing that the command says.", NDJSON),
                 404: Answer("There is no such command.")},
                Body({JSON: dict[str, Any] | list[Any]}, required=False),
            ),
            Route(
                "GET", "/jobs", h.jobs, "jobs", "Jobs that run and have ended, newest first.",
                {200: answer(handlers.JobsPage)}, query=handlers.JobsQuery,
            ),
            Route("GET", "/jobs/{id}", h.job, "job", "One job.", {200: answer(model.Job), 404: no_job}),
            Route(
                "GET", "/jobs/{id}/output", h.output, "job_output",
                "The output of a job from an offset on. The header X-Output-From tells where it begins, when what is "
                "before is no longer kept.",
                {200: answer(str, "The bytes.", TEXT), 404: no_job}, query=handlers.OutputQuery,
            ),
        ),
    )  # fmt: skip
