"""The pictures of the tour: taken of the console of a real service, in which a little of everything has happened.

They are made when the pages are built, so that they show what there is. `docs/_tour/` keeps them; it is not in git.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from smartmob_lab import SPAN, lab
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "_tour"
VIEWS = {
    "overview": "/console/",
    "timeline": f"/console/timeline?span={SPAN}",
    "tests": "/console/tests?base=latest~2&head=latest",
    "run": "/console/tests/runs/f61d3b94ce72f61d3b94ce72f61d3b94",
    "item": "/console/tests/items?path=tests.search.test_search&variant=test_search[many]",
    "processes": "/console/processes",
    "process": "/console/processes/shop.web.0",
    "commands": "/console/commands",
    "job": "/console/commands/1",
    "load": "/console/load",
    "hosts": "/console/hosts",
    "host": "/console/hosts/rack7",
    "alerts": "/console/alerts",
}
_PROGRAM = Path(sys.executable).parent / "smartmob"
_SIZE = {"width": 1280, "height": 860}


def setup(app: Sphinx) -> dict[str, Any]:
    """Take the pictures before the pages are read."""
    app.connect("builder-inited", _take)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _take(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    FOLDER.mkdir(exist_ok=True)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    logging.getLogger(__name__).info("taking the pictures of the tour")
    asyncio.run(_shoot())


@asynccontextmanager
async def _service(folder: str) -> AsyncIterator[str]:
    """Run a service and yield its address."""
    process = await asyncio.create_subprocess_exec(
        *(_PROGRAM, "serve", "--port", "0", "--data-dir", folder, "--hosts-name", "lab", "--log-format", "json"),
        stdout=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith(("SMARTMOB_", "DATABASE_URL"))},
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            event = orjson.loads(line)
            if event.get("event") == "bind" and event.get("transport") == "tcp":
                break
        else:
            raise ChildProcessError("the service of the tour did not start")
        reading = asyncio.create_task(process.stdout.read())
        yield f"http://127.0.0.1:{event['port']}"
        process.terminate()
        await reading
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _shoot() -> None:
    from tests.console.conftest import browsing

    with tempfile.TemporaryDirectory(prefix="smartmob-tour-") as folder:
        Path(folder).chmod(0o711)
        async with (
            _service(f"{folder}/data") as address,
            aiohttp.ClientSession(address) as client,
            lab(client),
            browsing() as browser,
        ):
            page = await browser.new_page(viewport=_SIZE, color_scheme="light")
            for name, path in VIEWS.items():
                await page.goto(address + path)
                await page.wait_for_selector('#connection[data-state="live"]')
                await page.wait_for_load_state("networkidle")
                await page.screenshot(path=FOLDER / f"{name}.png")
