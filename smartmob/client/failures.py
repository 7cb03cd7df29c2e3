"""Exceptions of the client, and the exceptions that errors of a server become."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from smartmob.errors import RemoteError

if TYPE_CHECKING:
    from smartmob.commands.model import Failure


class ClientError(RemoteError, RuntimeError):
    """The server refused a request or did not keep to the protocol."""


class ClientTimeout(ClientError):
    """The server did not answer in time."""


class NotConnected(ClientError, ConnectionError):
    """There is no connection to the server, or it was lost and could not be restored."""


FROM_SERVER = "said by the server"
"""The note of an exception that stands for an error of the server."""


def exception(failure: Failure) -> BaseException:
    """Return the exception that a failure of the server stands for: a built-in one, or a ClientError."""
    kind = getattr(builtins, failure.type, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return ClientError(failure.message)
    try:
        made: BaseException = kind(*failure.args)
    except TypeError:
        return ClientError(f"{failure.type}: {failure.message}")
    made.add_note(FROM_SERVER)
    return made


def is_remote(error: BaseException) -> bool:
    """Return whether an exception stands for an error of the server."""
    return FROM_SERVER in getattr(error, "__notes__", ())
