"""Programs like those in public reports about process managers: small ones of our own, all of one Procfile."""

from __future__ import annotations

from tests.processes.archives import File, make_archive
from tests.processes.conftest import Agent, lines

_PROCFILE = """\
compound: export A=b; sleep 1000 & sleep 1000 & echo two; wait
trap: ./trap.sh
percent: echo -Xloggc:gc_%t_%p.log --hostname=x.%h "100%"; exec sleep 1000
values: printf '%s|' "$EQUALS" "$HASH" "$DOLLAR" "$QUOTE"; echo; exec sleep 1000
interrupt: ./interrupt.sh
"""
_TRAP = """\
#!/bin/sh
trap 'echo cleaning; echo cleaned; exit 0' TERM
echo started
sleep 1000 & wait
"""
# A signal in the moment between fork and exec of a `sleep` is lost, so none of them is long.
_INTERRUPT = """\
#!/bin/sh
trap 'echo interrupted; exit 4' INT
echo waiting
while :; do sleep 0.1; done
"""
_ENV = "EQUALS==a=b\nHASH=g#^@\nDOLLAR=a$b$$c\nQUOTE=it's\n"


async def test_programs_of_reports_do_what_their_authors_expected(agent: Agent) -> None:
    """Windows line ends, percent signs and odd values are kept, handlers of signals run, and their output is shown."""
    files = {
        "Procfile": _PROCFILE.replace("\n", "\r\n"),
        ".env": _ENV.replace("\n", "\r\n"),
        "trap.sh": File(_TRAP),
        "interrupt.sh": File(_INTERRUPT),
    }
    source = agent.files.file("/reported.tar.gz", make_archive("tar.gz", files))
    said = {}
    for name in ("compound", "trap", "percent", "values", "interrupt"):
        await agent.create(source, name, restart="never")
        socket = await agent.attach(f"app.{name}.0", tail=10)
        [said[name]] = await lines(socket, 1)
        if name == "trap":
            await agent.post("stop", "app.trap.0")
            assert sorted(set(await lines(socket, 2)) - {"Terminated"}) == ["cleaned", "cleaning"]
        if name == "interrupt":
            await agent.post("signal", "app.interrupt.0", {"signal": "INT"})
            assert await lines(socket, 1) == ["interrupted"]
            assert (await agent.become("app.interrupt.0", "stopped"))["exit_status"] == 4
        await socket.close()
    assert said == {
        "compound": "two",
        "trap": "started",
        "percent": "-Xloggc:gc_%t_%p.log --hostname=x.%h 100%",
        "values": "=a=b|g#^@|a$b$$c|it's|",
        "interrupt": "waiting",
    }
    stopped = await agent.post("stop", "app.compound.0")
    assert (stopped["state"], stopped["exit_signal"]) == ("stopped", 15)
