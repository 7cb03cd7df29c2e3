"""What a client of commands raises, and errors of the server made into exceptions again."""

from __future__ import annotations

import builtins

from smartmob.commands.model import Failure
from smartmob.errors import RemoteError


class ClientError(RemoteError, RuntimeError):
    """The server did not do what it was asked."""


class ClientTimeout(ClientError):
    """The server did not answer in the time that was given."""


class NotConnected(ClientError, ConnectionError):
    """There is no connection to the server, or it broke and could not be made again."""


SAID = "said by the server"


def exception(failure: Failure) -> BaseException:
    """Return the exception that a failure stands for: one of Python's own, or a ClientError."""
    kind = getattr(builtins, failure.type, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return ClientError(failure.message)
    try:
        made: BaseException = kind(*failure.args)
    except TypeError:
        return ClientError(f"{failure.type}: {failure.message}")
    made.add_note(SAID)
    return made


def is_remote(error: BaseException) -> bool:
    """Return whether an exception is one that the server has named."""
    return SAID in getattr(error, "__notes__", ())
