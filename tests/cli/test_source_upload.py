"""The upload of a program's folder."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from smartmob.cli.on_nodes import SHARED, Shared
from smartmob.cli.source_upload import upload
from smartmob.client.http import RestClient


async def test_a_folder_is_packed_once_for_several_machines(client: Any, tmp_path: Path, capfd: Any) -> None:
    """A change of the folder between two uploads is not in the second one; the packed file is deleted at the end."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "Procfile").write_text("web: true\n")
    shared = Shared()
    SHARED.set(shared)
    try:
        async with RestClient(f"http://127.0.0.1:{client.server.port}") as rest:
            await upload(rest, folder)
            (folder / "more").write_text("")
            await upload(rest, folder)
        archive = await shared.once("archive", AsyncExitStack.aclose)  # the value is there, so nothing is made
        assert archive.path.exists()
    finally:
        await shared.close()
        SHARED.set(None)
    assert not archive.path.exists()
    first, second = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Uploaded")]
    assert first == second and first.startswith("Uploaded 1 file,")
