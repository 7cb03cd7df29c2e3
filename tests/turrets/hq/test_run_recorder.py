"""The state of runs in the database: what is written, and what is found after a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

from msgspec.structs import replace

from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.run_recorder import RunRecorder
from smartmob.turrets.model import Counters, Member, RunConfig
from tests.kernel.proxy import proxy_to
from tests.turrets.stored import Store, opened

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def _run(state: str = "waiting") -> RunState:
    return RunState(str(uuid4()), RunConfig(run_time=5.0), state, NOW)


def _member(uuid: str, status: str = "ready") -> Member:
    return Member(
        uuid=uuid, name="nav", script="v.py", cannons=1, rampup=0.0, status=status, status_at=NOW, first_seen=NOW,
        ours=False,
    )  # fmt: skip


async def test_only_the_last_state_is_written(store: Store) -> None:
    """Many changes between two writes are one."""
    recorder, run = RunRecorder(store.reader, store.writer), _run()
    await store.writer.insert_run("here", run, b'{"run_time": 5.0}', None)
    for state in ("running", "draining", "finished"):
        recorder.record_run(replace(run, state=state, started_at=NOW), 7, 1, Counters(malformed=2))
    for status in ("ready", "Running"):
        recorder.record_member(run.id, _member("a", status))
    assert await recorder.write()
    stored = await store.reader.run(UUID(run.id))
    assert stored is not None
    assert (stored.state.state, stored.transactions, stored.counters.malformed) == ("finished", 7, 2)
    assert [member.status for member in await store.reader.members(UUID(run.id))] == ["Running"]


async def test_only_an_active_run_of_this_headquarters_is_resumed(store: Store) -> None:
    """A run that has ended, and one of another headquarters, stay as they are."""
    recorder, over, other = RunRecorder(store.reader, store.writer), _run(), _run()
    await store.writer.insert_run("here", over, b'{"run_time": 5.0}', None)
    await store.writer.update_run(replace(over, state="finished"), 0, 0, Counters())
    await store.writer.insert_run("elsewhere", other, b'{"run_time": 5.0}', None)
    assert await recorder.resume("here") is None
    found = await recorder.resume("elsewhere")
    assert found is not None
    assert found.run == other


async def test_the_older_of_two_active_runs_fails(store: Store) -> None:
    """There is one run at a time."""
    recorder, first = RunRecorder(store.reader, store.writer), _run("running")
    second = replace(_run(), created_at=NOW.replace(hour=13))
    for run in (first, second):
        await store.writer.insert_run("here", run, b'{"run_time": 5.0}', None)
    found = await recorder.resume("here")
    assert found is not None
    assert found.run.id == second.id
    stored = await store.reader.run(UUID(first.id))
    assert stored is not None
    assert (stored.state.state, stored.state.reason) == ("failed", "the service ended meanwhile")


async def test_states_are_kept_while_the_database_is_away(database_url: str) -> None:
    """They are written when it is back."""
    async with proxy_to(database_url) as proxy, opened(proxy.url) as store:
        recorder, run = RunRecorder(store.reader, store.writer), _run()
        await store.writer.insert_run("here", run, b'{"run_time": 5.0}', None)
        recorder.record_member(run.id, _member("a"))
        recorder.record_run(replace(run, state="running"), 1, 0, Counters())
        proxy.cut()
        store.database.patience = 0.1
        assert not await recorder.write()
        proxy.up, store.database.patience = True, 60.0
        assert await recorder.write()
        stored = await store.reader.run(UUID(run.id))
        assert stored is not None
        assert (stored.state.state, len(await store.reader.members(UUID(run.id)))) == ("running", 1)
