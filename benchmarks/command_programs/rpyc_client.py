"""rpyc: os.getcwd and files by remote calls."""

import json
import os
import sys
import tempfile
import time

import rpyc

PORT, WHAT, SIZE = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connection = rpyc.classic.connect("127.0.0.1", PORT)
found = {}
if WHAT == "roundtrip":
    ask, times = connection.modules.os.getcwd, []
    for _ in range(SIZE):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    found = {"p50": sorted(times)[len(times) // 2], "p99": sorted(times)[len(times) * 99 // 100]}
elif WHAT == "transfer":
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/src", "wb") as file:
            file.write(bytes(range(256)) * (SIZE // 256))
        started = time.perf_counter()
        rpyc.utils.classic.upload(connection, f"{folder}/src", f"{folder}/there", chunk_size=1024 * 1024)
        found = {"bytes": os.path.getsize(f"{folder}/there"), "seconds": time.perf_counter() - started}
elif WHAT == "idle":
    time.sleep(SIZE)
    found = {"seconds": SIZE}
print(json.dumps(found))
