"""The diagnosis of one connection of a turret: the line that says why the headquarters is not connected. No I/O."""

from __future__ import annotations

OVERDUE_SECONDS = 3.0
"""Seconds without a connection after which the turret reports what it has seen; a headquarters may start a moment
later.
"""


class ConnectionDiagnosis:
    """The events of the socket for `purpose` that is connected to `where`, by their names in libzmq.

    `has_keys`: the connection is encrypted. Each line is returned once, until there has been a connection.
    """

    def __init__(self, where: str, purpose: str, *, has_keys: bool) -> None:
        self.connected = False
        self._where = where
        self._purpose = purpose
        self._has_keys = has_keys
        self._reached = False
        self._refused = False
        self._failed = False
        self._said: set[str] = set()

    def handle(self, event: str) -> str | None:
        """Return a line to show after an event, or None."""
        if event == "CONNECTED":
            self._reached, self._refused = True, False
        elif event == "HANDSHAKE_SUCCEEDED":
            self.connected, self._failed = True, False
            self._said.clear()
        elif event == "CLOSED":
            self._refused = True
        elif event == "DISCONNECTED":
            early = self._reached and not self.connected and not self._failed
            self.connected = self._reached = False
            if early:
                return self._once(self._other_port)
        elif event.startswith("HANDSHAKE_FAILED"):
            self._failed = True
            return self._once(self._failure(event))
        return None

    def overdue(self) -> str | None:
        """Return a line if there is still no connection and no line was returned yet, otherwise None."""
        if self.connected or self._said:
            return None
        if self._reached and not self._refused:
            return self._once(f"{self._where} does not answer as a headquarters: is this its port for {self._purpose}?")
        return self._once(
            f"nothing listens at {self._where}, the headquarters' port for {self._purpose}; it is tried again"
        )

    def _failure(self, event: str) -> str:
        if event == "HANDSHAKE_FAILED_AUTH":
            return f"the headquarters at {self._where} does not know the key of this turret: add it to its list of keys"
        if event == "HANDSHAKE_FAILED_PROTOCOL":
            if self._has_keys:
                return f"{self._where} uses no keys: is it the right port, and does the headquarters have a key?"
            return f"the headquarters at {self._where} has a key: give its public key with --hq-key-file"
        if self._has_keys:
            return f"the headquarters at {self._where} has another key than the one of --hq-key-file"
        # A port for something else in ZeroMQ ends the handshake as well, unless this side has noticed it first.
        return self._other_port

    @property
    def _other_port(self) -> str:
        return (
            f"{self._where} is not the headquarters' port for {self._purpose}, or does not speak ZeroMQ: "
            "compare the ports with those that the headquarters logs"
        )

    def _once(self, line: str) -> str | None:
        if line in self._said:
            return None
        self._said.add(line)
        return line
