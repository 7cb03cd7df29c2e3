"""The output of a command that runs for several machines at once."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from smartmob.cli.node_output import SINK, KeptOutput, LiveOutput, PrefixedOutput, is_one_of_many, routed


async def test_the_output_of_each_task_goes_to_its_sink(capfd: pytest.CaptureFixture[str]) -> None:
    """Text and bytes of standard output are kept apart for each machine, errors are shown with its name."""
    shown = PrefixedOutput(("a", "bb"))
    kept = {name: KeptOutput(name, shown) for name in ("a", "bb")}

    async def one(name: str) -> None:
        SINK.set(kept[name])
        assert is_one_of_many() and not sys.stdout.isatty()
        for number in range(3):
            sys.stdout.write(f"{name}{number}\n")
            sys.stdout.buffer.write(b"\xff\n")
            sys.stderr.write(f"error {number}\n")
            sys.stdout.flush()
            await asyncio.sleep(0)

    with routed():
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.create_task(one(name)) for name in kept))
        sys.stdout.write("own\n")
    output, errors = capfd.readouterr()
    assert output == "own\n" and not is_one_of_many()
    assert sorted(errors.splitlines()) == sorted(f"{name:<2} | error {n}" for name in kept for n in range(3))
    assert b"".join(kept["a"].pieces()) == b"a0\n\xff\na1\n\xff\na2\n\xff\n"
    assert len(kept["bb"]) == 18
    for each in kept.values():
        each.close()


async def test_live_lines_of_json_get_the_name_of_their_machine(capfd: pytest.CaptureFixture[str]) -> None:
    """A line without an end is shown at the end."""
    live = LiveOutput("a", PrefixedOutput(("a", "b"), as_json=True))
    live.write(b'{"line": 1}\n{"line"', error=False)
    live.write(b": 2}", error=False)
    assert json.loads(capfd.readouterr().out) == {"node": "a", "line": 1}
    live.close()
    assert json.loads(capfd.readouterr().out) == {"node": "a", "line": 2}


def test_kept_output_is_a_document_or_a_list_of_lines() -> None:
    """Without output there is no document."""
    shown = PrefixedOutput(("a",))
    for text, document in ((b"", None), (b"[1]\n", [1]), (b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}])):
        kept = KeptOutput("a", shown)
        kept.write(text, error=False)
        assert kept.document() == document
        kept.close()
