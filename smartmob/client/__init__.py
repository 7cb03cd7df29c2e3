"""The client library for scripts: run commands on machines where a service runs, from plain Python or asyncio.

from smartmob import client

with client.add("127.0.0.1", port=8080, enter_connect_timeout=10) as connection:
    print(connection.exec("uname -a"))
"""

from smartmob.client.command_client import Lab, connect
from smartmob.client.connection import ClientConnection, ConnectionListener, add, close_all, connections
from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
from smartmob.client.group import Group, Result, group
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
