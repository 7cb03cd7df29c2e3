"""The headquarters of OCT, with its own classes: `python turret_oct.py FOLDER RC COUNT`, in an environment that has it.

The turrets' part is left out: results begin at once. It prints when it listens, and the time when all results are in
its database.
"""

import os
import sys
import time

import peewee
from oct.core.hq import HightQuarter
from oct.results import models
from oct.results.models import Result
from oct.results.stats_handler import init_stats

# It was written for peewee 2, which Python 3.11 cannot install: the same calls under their new names.
peewee.Database.execution_context = peewee.Database.connection_context
peewee.Database.get_conn = peewee.Database.connection
connect = models.connect
models.connect = lambda url, **_: connect(url, check_same_thread=False)

folder, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = {"rc_port": port, "publish_port": "*", "external_publisher": "*", "run_time": 3600}
init_stats(os.path.join(folder, "results"), config)
hq = HightQuarter(os.path.join(folder, "results"), config, "topic")
print(f"port={port}", flush=True)
while hq.messages < count:
    hq._run_loop_action()
hq.stats_handler.write_remaining()
sys.stdout.write(f"stored {time.time()!r} {Result.select().count()}\n")
sys.stdout.flush()
os._exit(0)
