"""The routes of the feature `alerts`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from smartmob.alerts.model import (
    Alert,
    NewReceiver,
    NewRule,
    NewSilence,
    Notification,
    Pending,
    Rule,
    ShownReceiver,
    Silence,
)
from smartmob.alerts.service import AlertsService
from smartmob.errors import InvalidInput
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import Answer, Route, RouteTable, answer, body
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.times import moment

PREFIX = "/api/v1/alerts"
_MAX_BODY_BYTES = 64 * 1024
_WEEK = timedelta(days=7)
_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
"""The first day of the calendar, before which no span can begin."""

T = TypeVar("T")


class HistoryQuery(msgspec.Struct, frozen=True):
    """A time span, by default the last week. Times are seconds since 1970, or ISO 8601 with an offset."""

    start: str = msgspec.field(default="", name="from")
    end: str = msgspec.field(default="", name="to")
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    before: str | None = None


class ReplaceQuery(msgspec.Struct, frozen=True):
    """The option to replace an existing one; without it the answer is 409."""

    replace: bool = False


class NotificationsQuery(msgspec.Struct, frozen=True):
    """The notifications to list: all, or those that were given up."""

    failed: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


class ActiveAlerts(msgspec.Struct, frozen=True):
    """The firing alerts, oldest first, and conditions that are true, but not yet for as long as their rules require."""

    alerts: list[Alert]
    pending: list[Pending]


class AlertHistory(msgspec.Struct, frozen=True):
    """Alerts, newest first; `next` is the value of `before` for the next page, null on the last page."""

    alerts: list[Alert]
    next: str | None


class Rules(msgspec.Struct, frozen=True):
    """All rules, in the order of their names."""

    rules: list[Rule]


class Receivers(msgspec.Struct, frozen=True):
    """All receivers, in the order of their names."""

    receivers: list[ShownReceiver]


class Silences(msgspec.Struct, frozen=True):
    """The silences that have not ended."""

    silences: list[Silence]


class Notifications(msgspec.Struct, frozen=True):
    """Notifications, newest first."""

    notifications: list[Notification]


class TestSent(msgspec.Struct, frozen=True):
    """The id of the test notification."""

    notification: UUID


class Retried(msgspec.Struct, frozen=True):
    """The number of notifications that are sent again."""

    notifications: int


def table(service: AlertsService, bodies: BodyReader) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, bodies)
    return RouteTable(
        "alerts",
        (
            Route("GET", PREFIX, h.active, "alerts", "The alerts that fire.", {200: answer(ActiveAlerts)}),
            Route(
                "GET",
                f"{PREFIX}/history",
                h.history,
                "alert_history",
                "The alerts that fired in a span.",
                {200: answer(AlertHistory)},
                query=HistoryQuery,
            ),
            *_rule_routes(h),
            *_receiver_routes(h),
            *_silence_routes(h),
            *_notification_routes(h),
        ),
    )


def _rule_routes(h: _Handlers) -> tuple[Route, ...]:
    not_found, taken = (
        Answer("There is no such rule."),
        Answer("The name is taken, or is one of the settings."),
    )
    answers = {200: answer(Rule, "The stored rule."), 409: taken}
    return (
        Route("GET", f"{PREFIX}/rules", h.rules, "alert_rules", "All rules.", {200: answer(Rules)}),
        Route(
            "PUT",
            f"{PREFIX}/rules/{{name}}",
            h.put_rule,
            "put_alert_rule",
            "Store a rule.",
            answers,
            body(NewRule, limit=_MAX_BODY_BYTES),
            query=ReplaceQuery,
        ),
        Route(
            "DELETE",
            f"{PREFIX}/rules/{{name}}",
            h.delete_rule,
            "remove_alert_rule",
            "Delete a rule; its alerts are resolved.",
            {204: Answer("The rule was deleted."), 404: not_found, 409: taken},
        ),
    )


def _receiver_routes(h: _Handlers) -> tuple[Route, ...]:
    not_found, taken = (
        Answer("There is no such receiver."),
        Answer("The name is taken, or is one of the settings."),
    )
    answers = {200: answer(ShownReceiver, "The stored receiver."), 409: taken}
    return (
        Route("GET", f"{PREFIX}/receivers", h.receivers, "alert_receivers", "All receivers.", {200: answer(Receivers)}),
        Route(
            "PUT",
            f"{PREFIX}/receivers/{{name}}",
            h.put_receiver,
            "put_alert_receiver",
            "Store a receiver.",
            answers,
            body(NewReceiver, limit=_MAX_BODY_BYTES),
            query=ReplaceQuery,
        ),
        Route(
            "DELETE",
            f"{PREFIX}/receivers/{{name}}",
            h.delete_receiver,
            "remove_alert_receiver",
            "Delete a receiver; its waiting notifications are not delivered.",
            {204: Answer("The receiver was deleted."), 404: not_found, 409: taken},
        ),
        Route(
            "POST",
            f"{PREFIX}/receivers/{{name}}/test",
            h.test_receiver,
            "test_alert_receiver",
            "Send a test message to a receiver.",
            {202: answer(TestSent, "The message is being sent."), 404: not_found},
        ),
    )


def _silence_routes(h: _Handlers) -> tuple[Route, ...]:
    return (
        Route(
            "GET", f"{PREFIX}/silences", h.silences, "alert_silences", "The active silences.", {200: answer(Silences)}
        ),
        Route(
            "POST",
            f"{PREFIX}/silences",
            h.silence,
            "add_alert_silence",
            "Hold back notifications for a time.",
            {201: answer(Silence, "The stored silence.")},
            body(NewSilence, limit=_MAX_BODY_BYTES),
        ),
        Route(
            "DELETE",
            f"{PREFIX}/silences/{{id}}",
            h.end_silence,
            "remove_alert_silence",
            "End a silence.",
            {204: Answer("The silence was ended."), 404: Answer("There is no such silence.")},
        ),
    )


def _notification_routes(h: _Handlers) -> tuple[Route, ...]:
    return (
        Route(
            "GET",
            f"{PREFIX}/notifications",
            h.notifications,
            "alert_notifications",
            "The newest notifications.",
            {200: answer(Notifications)},
            query=NotificationsQuery,
        ),
        Route(
            "POST",
            f"{PREFIX}/notifications/retry",
            h.retry,
            "retry_alert_notifications",
            "Resend notifications that could not be delivered.",
            {200: answer(Retried)},
        ),
    )


class _Handlers:
    """Handlers of alerts: parse, call the service, encode."""

    def __init__(self, service: AlertsService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies
        self._new_rule = msgspec.json.Decoder(NewRule)
        self._new_receiver = msgspec.json.Decoder(NewReceiver)
        self._new_silence = msgspec.json.Decoder(NewSilence)

    async def active(self, _: web.Request) -> web.StreamResponse:
        return json_response(ActiveAlerts(await self._service.active(), self._service.pending()))

    async def history(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, HistoryQuery)
        end = moment("to", arguments.end, clock.now())
        start = moment("from", arguments.start, max(end, _FIRST_DAY + _WEEK) - _WEEK)
        if start >= end:
            raise InvalidInput.at("from", "the span is empty: `from` must be before `to`")
        after = None if arguments.before is None else paging.parse_row_cursor(arguments.before, "before")
        alerts = await self._service.history(start, end, arguments.limit, after)
        last = alerts[-1] if len(alerts) == arguments.limit else None
        following = None if last is None else paging.cursor(last.fired_at.isoformat(), str(last.id))
        return json_response(AlertHistory(alerts, following))

    async def rules(self, _: web.Request) -> web.StreamResponse:
        return json_response(Rules(await self._service.rules()))

    async def put_rule(self, request: web.Request) -> web.StreamResponse:
        replace = query(request, ReplaceQuery).replace
        new = await self._body(request, self._new_rule)
        return json_response(await self._service.put_rule(parameter(request, "name"), new, replace=replace))

    async def delete_rule(self, request: web.Request) -> web.StreamResponse:
        await self._service.delete_rule(parameter(request, "name"))
        return web.Response(status=204)

    async def receivers(self, _: web.Request) -> web.StreamResponse:
        return json_response(Receivers(await self._service.receivers()))

    async def put_receiver(self, request: web.Request) -> web.StreamResponse:
        replace = query(request, ReplaceQuery).replace
        new = await self._body(request, self._new_receiver)
        return json_response(await self._service.put_receiver(parameter(request, "name"), new, replace=replace))

    async def delete_receiver(self, request: web.Request) -> web.StreamResponse:
        await self._service.delete_receiver(parameter(request, "name"))
        return web.Response(status=204)

    async def test_receiver(self, request: web.Request) -> web.StreamResponse:
        return json_response(TestSent(await self._service.test_receiver(parameter(request, "name"))), 202)

    async def silences(self, _: web.Request) -> web.StreamResponse:
        return json_response(Silences(await self._service.silences()))

    async def silence(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.silence(await self._body(request, self._new_silence)), 201)

    async def end_silence(self, request: web.Request) -> web.StreamResponse:
        text = parameter(request, "id")
        try:
            ident = UUID(text)
        except ValueError:
            raise InvalidInput.at("id", f"expected the id of a silence, got {text!r}") from None
        await self._service.end_silence(ident)
        return web.Response(status=204)

    async def notifications(self, request: web.Request) -> web.StreamResponse:
        arguments = query(request, NotificationsQuery)
        found = await self._service.notifications(failed=arguments.failed, limit=arguments.limit)
        return json_response(Notifications(found))

    async def retry(self, _: web.Request) -> web.StreamResponse:
        return json_response(Retried(await self._service.retry()))

    async def _body(self, request: web.Request, decoder: msgspec.json.Decoder[T]) -> T:
        return decode(decoder, await self._bodies.read(request))
