"""The client library for scripts: run commands on machines where a service runs, from plain Python or asyncio.

from smartmob import client

with client.add("127.0.0.1", port=8080, enter_connect_timeout=10) as connection:
    print(connection.exec("uname -a"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smartmob.client.command_client import Lab, connect
    from smartmob.client.connection import ClientConnection, ConnectionListener, add, close_all, connections
    from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
    from smartmob.client.groups import Group, Result, group
    from smartmob.client.listener import Listener
    from smartmob.client.messages import StandardErrorBytes, StandardErrorText

__all__ = [
    "ClientConnection",
    "ClientError",
    "ClientTimeout",
    "ConnectionListener",
    "Group",
    "Lab",
    "Listener",
    "NotConnected",
    "Result",
    "StandardErrorBytes",
    "StandardErrorText",
    "add",
    "close_all",
    "connect",
    "connections",
    "group",
]

_MODULES = {
    "command_client": ("Lab", "connect"),
    "connection": ("ClientConnection", "ConnectionListener", "add", "close_all", "connections"),
    "failures": ("ClientError", "ClientTimeout", "NotConnected"),
    "groups": ("Group", "Result", "group"),
    "listener": ("Listener",),
    "messages": ("StandardErrorBytes", "StandardErrorText"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: commands import modules of this package, and need only a few of them."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"smartmob.client.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
