"""rpyc's classic server in one process, with threads."""

from rpyc.core.service import SlaveService
from rpyc.utils.server import ThreadedServer

server = ThreadedServer(SlaveService, hostname="127.0.0.1", port=0)
print(f"port={server.port}", flush=True)
server.start()
