"""State machines that others extend: one that measures each action, and one that sends broken frames of WebSockets."""

from __future__ import annotations

import json
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.fuzzing.mutations import any_of, damaged
from tests.fuzzing.service import Sequence, Service
from tests.fuzzing.websocket import CLOSE, CONTINUED, PING, TEXT, Closed, WebSocket, frame

LONGEST_MESSAGES = (256 * 1024, 4 * 2**20 + 1024)
"""The longest messages that `/echo` and `/commands` accept, in bytes."""

BROKEN_FRAMES = st.one_of(
    st.binary(min_size=1, max_size=40),
    damaged(frame(TEXT, json.dumps({"type": "HELLO"}).encode())),
    damaged(frame(TEXT, json.dumps({"type": "ping"}).encode())),
    st.builds(lambda opcode, bits: frame(opcode, b"{}", reserved=bits), st.integers(0, 15), st.integers(1, 7)),
    any_of(
        (
            frame(TEXT, b"{}", masked=False),
            b"\x81\xff" + b"\xff" * 12,
            frame(PING, bytes(126)),
            frame(CONTINUED, b"x"),
            frame(TEXT, b"\xff"),
            frame(CLOSE, b"\x00"),
            frame(CLOSE, b"\x03\xff\xff"),
            *(frame(TEXT, b"x" * (longest + 1)) for longest in LONGEST_MESSAGES),
            frame(TEXT, b"[" * (2**20)),
            frame(TEXT, b'{"type": "hello", "client": "' + b"x" * 2**21 + b'"}'),
            frame(TEXT, b"", last=False) + frame(CONTINUED, b"", last=False) * 5000,
        )
    ),
)
"""Bytes that are no frames, or frames that no client sends."""


class MeasuredMachine(RuleBasedStateMachine):
    """A state machine that checks after each action what it has cost the service."""

    def __init__(self, target: Service) -> None:
        super().__init__()
        self.target = target
        self.cost = Sequence(target)

    @invariant()
    def costs_little(self) -> None:
        """Fail if the last action took too much processor time."""
        self.cost.check_step()


class WebSocketMachine(MeasuredMachine):
    """A state machine of the clients of a WebSocket, with what any client of it can send."""

    path: ClassVar[str]
    """The path of the WebSocket."""

    @rule(data=BROKEN_FRAMES)
    def send_broken_frames(self, data: bytes) -> None:
        """Send a malformed or incomplete frame, which ends at most its own connection."""
        line = WebSocket(self.target.port, self.path)
        try:
            line.write(data)
            line.end_writing()
        except Closed:
            pass
        line.until_closed()
        line.close()

    def disconnect_within(self, data: bytes, part: int) -> None:
        """Send `data` without its last `part` bytes over a new connection, and disconnect without an answer."""
        line = WebSocket(self.target.port, self.path)
        line.write(data[: len(data) - part])
        line.close()
