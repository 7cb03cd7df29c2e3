"""A whole turret with a scripted headquarters, over real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import zmq

from smartmob.errors import InvalidInput
from smartmob.turrets import protocol
from smartmob.turrets.protocol import RunBriefing
from smartmob.turrets.slices import Distribution
from smartmob.turrets.turret import outbox
from smartmob.turrets.turret.sockets import Keys
from tests import free_ports
from tests.turrets.headquarters import OwnHeadquarters
from tests.turrets.turret.turrets import COROUTINE, THREAD, package, turret
from tests.waiting import until

LONG = 1000.0
"""Seconds of a run that a test stops: a turret of a busy machine may hear of a short run when it is over."""


def _run(seconds: float = LONG, *, name: str = "r", results: protocol.Results = "slices") -> RunBriefing:
    return RunBriefing(id=name, starts_in=0.1, run_time=seconds, results=results, context={"token": "t"})


async def _fire_and_stop(hq: OwnHeadquarters, run: RunBriefing) -> None:
    """Announce a run, stop it when some of its results are here, and wait for the others."""
    await hq.announce(run)
    await until(lambda: hq.transactions and hq.statuses[-1].status == "Running")
    await hq.stop()
    await hq.complete()


class TestOneRun:
    """Runs from start to end."""

    @pytest.mark.parametrize("script", [COROUTINE, THREAD], ids=["coroutines", "threads"])
    async def test_slices_contain_each_transaction(self, script: str, tmp_path: Path) -> None:
        """The counts are equal; the status has both spellings of cannons and the report."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, script)):
            await until(lambda: hq.statuses)
            await hq.subscribed()
            await hq.announce(_run(3.0))
            await hq.complete()
            report = hq.report
            assert (hq.transactions, report.errors, report.dropped) == (report.transactions, 0, 0)
            whole = Distribution()
            for part in [part for batch in hq.slices for part in batch.slices if part.timer == ""]:
                whole.merge(part)
            assert whole.count == report.transactions > 0
            assert (hq.statuses[-1].cannons, hq.statuses[-1].canons) == (3, 3)
            assert {status.status for status in hq.statuses} == {"ready", "Running"}
            assert report.health is not None
            assert report.health.memory > 0

    async def test_raw_results_contain_each_transaction(self, tmp_path: Path) -> None:
        """Each transaction is a numbered result of the run."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            await _fire_and_stop(hq, _run(results="raw"))
            assert len(hq.results) == hq.report.transactions > 0
            assert {(result.run, result.turret_name) for result in hq.results} == {("r", "n")}

    async def test_each_run_has_its_own_numbers_and_counts(self, tmp_path: Path) -> None:
        """The second run begins with the number 1."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            for name in ("a", "b"):
                hq.acknowledged.clear()
                hq.slices.clear()
                await _fire_and_stop(hq, _run(name=name))
                assert hq.transactions == hq.report.transactions > 0
                assert hq.slices[0].sequence == 1

    async def test_the_context_reaches_the_script_and_its_errors_are_counted(self, tmp_path: Path) -> None:
        """The text of an exception is the error."""
        script = """
            import asyncio
            from oct_turrets.base import BaseTransaction

            class Transaction(BaseTransaction):
                async def run(self):
                    await asyncio.sleep(0.005)
                    raise ValueError(self.context["token"])
        """
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, script)):
            await until(lambda: hq.statuses)
            await _fire_and_stop(hq, _run())
            errors = [part.errors for batch in hq.slices for part in batch.slices]
            assert {text for texts in errors for text in texts} == {"t"}

    async def test_a_stopped_run_delivers_everything(self, tmp_path: Path) -> None:
        """Firing ends with the briefing, long before its time."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            await _fire_and_stop(hq, _run())
            assert hq.transactions == hq.report.transactions


class TestLosses:
    """A headquarters that does not answer, restarts, or stays away."""

    async def test_unacknowledged_results_are_repeated_and_counted_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until they are acknowledged."""
        monkeypatch.setattr("smartmob.turrets.turret.state_machine.REPEAT_SECONDS", 0.2)
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(results="raw"))
            await until(lambda: len(hq.results) > 20)
            hq.deaf = True
            await until(lambda: hq.unheard)
            hq.deaf = False
            await until(lambda: hq.repeated)
            await hq.stop()
            await hq.complete()
            assert len(hq.results) == hq.report.transactions

    async def test_a_restarted_headquarters_gets_what_is_not_acknowledged(self, tmp_path: Path) -> None:
        """The run goes on meanwhile."""
        ports = (free_ports.single_port(), free_ports.single_port())
        async with OwnHeadquarters(ports) as first:
            running = turret(package(tmp_path, ports))
            async with running as made:
                await until(lambda: first.statuses)
                await first.announce(_run(results="raw"))
                await until(lambda: len(first.results) > 20)
                starts = first.starts
                await first.close()
                await until(lambda: any("lost the connection" in text for text in made.messages))
                async with OwnHeadquarters(ports) as second:
                    second.acknowledged = dict(first.acknowledged)
                    left = starts - asyncio.get_running_loop().time()
                    await second.announce(RunBriefing(id="r", starts_in=left, run_time=LONG, results="raw"))
                    await until(lambda: second.results)
                    await second.stop()
                    await second.complete()
                    report = second.report
                    assert len(first.results) + len(second.results) == report.transactions
                    assert report.sequence == report.transactions

    async def test_results_are_given_up_without_a_headquarters(self, tmp_path: Path) -> None:
        """The turret reports it, and is ready again."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, patience=0.5)) as made:
            await until(lambda: hq.statuses)
            await hq.announce(_run(2.0))
            await until(lambda: hq.report.users > 0)
            await hq.close()
            await until(lambda: any("results are dropped" in text for text in made.messages))

    async def test_a_full_outbox_pauses_firing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until the headquarters acknowledges; the pause is reported, and nothing is lost."""
        monkeypatch.setattr(outbox, "MOST_MESSAGES", 50)
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, cannons=20)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(results="raw"))
            await until(lambda: hq.report.paused)
            await hq.stop()
            await hq.complete()
            report = hq.report
            assert len(hq.results) == report.transactions


class TestProcesses:
    """Turrets with several processes."""

    @pytest.mark.parametrize("results", ["slices", "raw"])
    async def test_processes_are_one_turret(self, results: protocol.Results, tmp_path: Path) -> None:
        """All cannons fire, and their results have one uuid and one row of numbers."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, THREAD, cannons=5, processes=2)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(results=results))
            await until(lambda: hq.report.users == 5 and hq.transactions)
            await hq.stop()
            await hq.complete()
            report = hq.report
            assert hq.transactions == report.transactions > 0
            assert report.health is not None
            assert report.health.processes == 3
            assert len(hq.acknowledged) == 1

    async def test_a_dead_process_aborts_the_turret(self, tmp_path: Path) -> None:
        """The reason is reported, the results of the others are delivered, and the exit code is 1."""
        script = """
            import os, time
            from oct_turrets.base import BaseTransaction

            class Transaction(BaseTransaction):
                def run(self):
                    time.sleep(0.01)
                    if time.monotonic() > self.config["dies"]:
                        os._exit(9)
        """
        dies = asyncio.get_running_loop().time() + 1.5
        async with OwnHeadquarters() as hq:
            made = package(tmp_path, hq.ports, script, cannons=2, processes=2, dies=dies)
            async with turret(made) as running:
                await until(lambda: hq.statuses)
                await hq.announce(_run())
                assert await running.task == 1
            await until(lambda: hq.statuses[-1].status == "Aborted")
            assert "ended with 9" in hq.report.reason


class TestTheTurretItself:
    """Errors of the turret and its end."""

    @pytest.mark.parametrize("processes", [1, 2])
    async def test_a_script_that_cannot_be_loaded_aborts_the_turret(self, processes: int, tmp_path: Path) -> None:
        """The headquarters gets the status, and the exit code is 1."""
        async with (
            OwnHeadquarters() as hq,
            turret(package(tmp_path, hq.ports, "x = 1", processes=processes)) as running,
        ):
            assert await running.task == 1
            await until(lambda: hq.statuses and hq.statuses[-1].status == "Aborted")
            assert any("no class Transaction" in text for text in running.messages)

    async def test_a_killed_turret_delivers_its_results(self, tmp_path: Path) -> None:
        """The last status is final."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)) as running:
            await until(lambda: hq.statuses)
            await hq.announce(_run())
            await until(lambda: hq.report.transactions > 0)
            await hq.order("kill", "enough")
            assert await running.task == 0
            await until(lambda: hq.statuses[-1].status == "Killed" and hq.report.final)
            await until(lambda: hq.transactions == hq.report.transactions)

    async def test_a_turret_without_headquarters_can_be_ended(self, tmp_path: Path, unused_tcp_port: int) -> None:
        """It waits until it is asked to end."""
        async with turret(package(tmp_path, (unused_tcp_port, unused_tcp_port))) as running:
            await until(lambda: any("waits for orders" in text for text in running.messages))
            assert await running.end() == 0

    async def test_an_invalid_address_is_refused_with_its_key(self, tmp_path: Path) -> None:
        """The error names the key."""
        with pytest.raises(InvalidInput, match=r"\$\.hq_address"):
            async with turret(package(tmp_path, (1, 1), hq_address="no address")) as running:
                await running.task

    async def test_invalid_orders_are_reported_and_ignored(self, tmp_path: Path) -> None:
        """Orders for another turret are ignored."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)) as running:
            await until(lambda: hq.statuses)
            await hq.subscribed()
            for frame in (b"", b"no order", b"\xff", b' {"msg": 1}', b'another {"command": "kill", "msg": ""}'):
                await hq.send(frame)
            await until(lambda: sum("not understood" in text for text in running.messages) == 4)
            hq.statuses.clear()
            await until(lambda: hq.statuses)
            assert hq.statuses[-1].status == "ready"

    async def test_an_order_for_this_turret_is_obeyed(self, tmp_path: Path) -> None:
        """The channel of its uuid counts like the common one."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)) as running:
            await until(lambda: hq.statuses)
            order = json.dumps({"command": "kill", "msg": ""})
            await hq.subscribed(hq.statuses[0].uuid)
            await hq.send(f"{hq.statuses[0].uuid} {order}".encode())
            assert await running.task == 0


class TestEncryption:
    """Connections with CURVE."""

    async def test_only_a_turret_with_the_right_key_is_connected(self, tmp_path: Path) -> None:
        """One without a key, or with another, is not."""
        public, secret = zmq.curve_keypair()
        async with OwnHeadquarters(keys=(public, secret)) as hq:
            stranger = Keys(zmq.curve_keypair()[0], *zmq.curve_keypair())
            async with (
                turret(package(tmp_path, hq.ports, name="plain")),
                turret(package(tmp_path, hq.ports, name="stranger"), stranger),
                turret(package(tmp_path, hq.ports, name="friend"), Keys(public, *zmq.curve_keypair())),
            ):
                await until(lambda: hq.statuses)
                await _fire_and_stop(hq, _run())
            assert {status.turret for status in hq.statuses} == {"friend"}
            assert hq.transactions > 0
