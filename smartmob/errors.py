"""The exceptions of smartmob. The docstring of an exception is its default message.

They do not depend on HTTP: `smartmob.kernel.http.problems` maps them to answers, `smartmob.cli.main` to exit codes.

    SmartmobError
     ├─ StartupError            the service cannot start
     │   ├─ SettingsError
     │   └─ DatabaseError
     ├─ InvalidInput            an input is not valid
     │   └─ TooLarge
     ├─ NotFound
     ├─ Conflict
     ├─ NotAuthenticated
     ├─ NotAllowed
     ├─ TooSlow
     ├─ Unavailable             try again later
     │   └─ TooManyTries
     └─ RemoteError             a client's request to a server failed
"""

from __future__ import annotations

import msgspec


class SmartmobError(Exception):
    """Something went wrong."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class StartupError(SmartmobError):
    """The service cannot start."""


class SettingsError(StartupError):
    """A setting is wrong."""


class DatabaseError(StartupError):
    """The database cannot be used."""


class Fault(msgspec.Struct, frozen=True):
    """One fault of an input: `where` is a JSON path such as `$.run_date`, or the name of a parameter."""

    where: str
    message: str


class InvalidInput(SmartmobError):
    """The input is not valid."""

    def __init__(self, message: str = "", faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults

    @classmethod
    def at(cls, where: str, message: str) -> InvalidInput:
        """Return the error for a single bad field."""
        return cls(f"{where}: {message}", (Fault(where, message),))


class TooLarge(InvalidInput):
    """The input is larger than the service accepts."""


class NotFound(SmartmobError):
    """Not found."""


class Conflict(SmartmobError):
    """The request conflicts with the current state."""


class NotAuthenticated(SmartmobError):
    """A token is needed: send it as `Authorization: Bearer`, as the password of HTTP Basic, or sign in at /login."""


class NotAllowed(SmartmobError):
    """The request is not allowed."""


class TooSlow(SmartmobError):
    """The request did not arrive in time."""


class Unavailable(SmartmobError):
    """The service cannot do this now; try again."""

    def __init__(self, message: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyTries(Unavailable):
    """Too many wrong tokens, passwords or client ids came from this address; try again later."""


class RemoteError(SmartmobError):
    """The server cannot be reached, or refused the request; `status` is its HTTP status if it answered."""

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def message_of(error: BaseException) -> str:
    """Return the message of an exception; of the operating system's, as programs print it: the file and the reason."""
    if not isinstance(error, OSError) or error.errno is None or type(error).__module__ != "builtins":
        return str(error)
    reason, name = error.strerror or str(error), error.filename
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return reason if name is None else f"{name}: {reason}"
