"""Deploy an archive, follow the output of its process, and delete it: `python watch_program.py SOURCE_URL [ADDRESS]`.

With a token, the address is `http://any:TOKEN@host:8080`.
"""

import asyncio
import sys

import aiohttp

NOTE = "[smartmob] "


async def main(source_url, address="http://127.0.0.1:8080"):
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(address) as answer:
            index = await answer.json()
        wanted = {"app": "watched", "node": "worker.0", "process_type": "worker", "source_url": source_url}
        async with session.post(index["create"], json=wanted) as answer:
            process = await answer.json()
        try:
            # tail=N sends up to N earlier lines first, events=1 includes lines about the process itself.
            async with session.ws_connect(process["attach"] + "?tail=1000&events=1") as console:
                async for message in console:
                    is_note = message.data.startswith(NOTE)
                    sys.stdout.write(f"{'*' if is_note else '>'} {message.data.removeprefix(NOTE)}\n")
                    if message.data == "3 done":
                        break
        finally:
            async with session.post(process["delete"], json={}):
                sys.stdout.write("deleted\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
