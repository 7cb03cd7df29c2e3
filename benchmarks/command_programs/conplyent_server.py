"""conplyent's own server."""

import socket

import conplyent

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
print(f"port={port}", flush=True)
conplyent.server.start(port)
