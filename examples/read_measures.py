"""List the slowest tests of the last run: `python read_measures.py [ADDRESS [HOW_MANY]]`.

An address with a token is `http://any:TOKEN@host:8080`.
"""

import asyncio
import json
import sys
from urllib.parse import quote

import aiohttp


async def main(address="http://127.0.0.1:8080", how_many="10"):
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(f"{address}/api/v1/runs/", params={"limit": 1}) as answer:
            if answer.status == 204:
                sys.exit("No run is stored yet.")
            run = (await answer.json())["runs"][0]

        # Asked for NDJSON, the service sends all metrics as it reads them, without pages.
        url = f"{address}/api/v1/runs/{quote(run['id'], safe='')}/metrics"
        async with session.get(url, headers={"Accept": "application/x-ndjson"}) as answer:
            metrics = [json.loads(line) async for line in answer.content]

    metrics.sort(key=lambda metric: metric["total_time"], reverse=True)
    sys.stdout.write(f"{run['metrics']} tests of commit {run['scm_ref'] or 'unknown'} on {', '.join(run['nodes'])}\n")
    for metric in metrics[: int(how_many)]:
        sys.stdout.write(f"{metric['total_time'] * 1000:8.1f} ms  {metric['item_path']}::{metric['item_variant']}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
