"""conplyent's own client, against its own server or ours."""

import json
import os
import sys
import tempfile
import time

import conplyent

PORT, WHAT, SIZE = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connection = conplyent.client.add("127.0.0.1", port=PORT)
connection.connect(timeout=20)
found = {}
if WHAT == "roundtrip":
    times = []
    for _ in range(SIZE):
        started = time.perf_counter()
        connection.cwd()
        times.append(time.perf_counter() - started)
    found = {"p50": sorted(times)[len(times) // 2], "p99": sorted(times)[len(times) * 99 // 100]}
elif WHAT == "lines":
    started, lines = time.perf_counter(), 0
    listener = connection.exec(["sh", "-c", f"yes {'x' * 99} | head -n {SIZE}"], complete=False, max_interval=10)
    try:
        for _ in iter(listener.next, None):
            lines += 1
    except conplyent.ClientTimeout:
        pass
    found = {"lines": lines - 1, "seconds": time.perf_counter() - started, "ended": listener.done}
elif WHAT == "transfer":
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/src", "wb") as file:
            file.write(bytes(range(256)) * (SIZE // 256))
        started = time.perf_counter()
        connection.transfer(f"{folder}/src", f"{folder}/there/x", chunk=65536)
        found = {"bytes": SIZE, "seconds": time.perf_counter() - started}
elif WHAT == "idle":
    time.sleep(SIZE)
    found = {"seconds": SIZE}
print(json.dumps(found), flush=True)
os._exit(0)  # its thread looks for messages until the main thread has ended, and sometimes beyond
