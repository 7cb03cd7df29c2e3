"""A headquarters for one turret: the sockets of the real one on free ports, without a service and its database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from smartmob.feature_settings import TurretsSettings
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tcp_ports import lasting_ports
from smartmob.turrets.conformance import frame_rules
from smartmob.turrets.conformance.awaited_changes import AwaitedChanges
from smartmob.turrets.conformance.frame_rules import Configured, ReceivedFrame
from smartmob.turrets.conformance.rules import RuleFindings
from smartmob.turrets.hq.sockets import HeadquartersSockets

MOST_MESSAGES = 200_000
"""The most messages that are kept; further messages of a turret during a check are not judged."""


class PrivateHeadquarters:
    """Sends orders, and keeps the messages that arrive. `close`, and a later `open`, simulate its absence.

    While `extended`, the headquarters has sent the key `smartmob`, so that messages may have further keys.
    """

    def __init__(
        self, configured: Configured, findings: RuleFindings, changes: AwaitedChanges, key_file: Path | None = None
    ) -> None:
        self.messages: list[ReceivedFrame] = []
        self.extended = False
        self._configured, self._findings, self._changes = configured, findings, changes
        self._key_file = key_file
        self._ports: tuple[int, int] | None = None
        self._sockets: HeadquartersSockets | None = None

    def open(self) -> None:
        """Listen; after the first time, on the same ports."""
        publish, results = self._ports or lasting_ports(2)
        settings = TurretsSettings(
            hq=True,
            hq_publish_port=publish,
            hq_rc_port=results,
            hq_external_port=0,
            hq_curve_key_file=self._key_file,
        )
        self._sockets = HeadquartersSockets(settings, False, self._receive)
        self._sockets.open()
        self._ports = self._sockets.ports[:2]

    async def close(self) -> None:
        """Stop listening, and end the connections."""
        if self._sockets is not None:
            await self._sockets.close()
            self._sockets = None

    @property
    def ports(self) -> tuple[int, int]:
        """Return the port of orders and the port of results."""
        assert self._ports is not None
        return self._ports

    def publish(self, frame: bytes) -> None:
        """Send a frame to the port of orders."""
        assert self._sockets is not None
        self._sockets.publish(frame)

    def order(self, command: str, msg: Any = None, channel: str = "", **further: Any) -> bytes:
        """Send an order with the documented keys and `further` ones; return its frame."""
        frame = channel.encode() + b" " + msgspec.json.encode({"command": command, "msg": msg, **further})
        self.publish(frame)
        return frame

    def since(self, index: int) -> list[ReceivedFrame]:
        """Return the messages from an index on."""
        return self.messages[index:]

    def statuses(self, index: int) -> list[ReceivedFrame]:
        """Return the statuses among the messages from an index on."""
        return [one for one in self.messages[index:] if one.is_status]

    def results(self, index: int) -> list[ReceivedFrame]:
        """Return the results among the messages from an index on."""
        return [one for one in self.messages[index:] if one.is_result]

    def _receive(self, frames: list[bytes]) -> None:
        at, wall = asyncio.get_running_loop().time(), clock.epoch()
        for frame in frames[: max(0, MOST_MESSAGES - len(self.messages))]:
            message, fault = frame_rules.read(frame, at, wall)
            if fault is not None:
                self._findings.failed(fault.rule, fault.why, frame)
                continue
            self._findings.passed("frames")
            frame_rules.judge_frame(message, self._configured, self._findings, extended=self.extended)
            self.messages.append(message)
        self._changes.notify()
