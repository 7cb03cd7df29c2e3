"""execnet: os.getcwd and a file over a channel to a child, which is how it works on one machine."""

import json
import sys
import tempfile
import time

import execnet

_, WHAT, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
gateway = execnet.makegateway("popen")
found = {}
if WHAT == "roundtrip":
    channel = gateway.remote_exec("import os\nfor _ in channel:\n    channel.send(os.getcwd())")
    times = []
    for _ in range(SIZE):
        started = time.perf_counter()
        channel.send(1)
        channel.receive()
        times.append(time.perf_counter() - started)
    found = {"p50": sorted(times)[len(times) // 2], "p99": sorted(times)[len(times) * 99 // 100]}
elif WHAT == "transfer":
    with tempfile.TemporaryDirectory() as folder:
        channel = gateway.remote_exec(
            "path = channel.receive()\n"
            "with open(path, 'wb') as file:\n"
            "    for piece in iter(channel.receive, b''):\n"
            "        file.write(piece)\n"
            "channel.send(1)"
        )
        started = time.perf_counter()
        channel.send(f"{folder}/there")
        piece = bytes(1024 * 1024)
        for _ in range(SIZE // len(piece)):
            channel.send(piece)
        channel.send(b"")
        channel.receive()
        found = {"bytes": SIZE, "seconds": time.perf_counter() - started}
gateway.exit()
print(json.dumps(found))
