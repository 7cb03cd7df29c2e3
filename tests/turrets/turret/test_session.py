"""A whole turret under a scripted headquarters, over real sockets."""

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
from tests.turrets.headquarters import OwnHeadquarters
from tests.turrets.turret.turrets import COROUTINE, THREAD, package, turret
from tests.waiting import until


def _run(seconds: float = 1.2, *, name: str = "r", results: protocol.Results = "slices") -> RunBriefing:
    return RunBriefing(id=name, starts_in=0.1, run_time=seconds, results=results, context={"token": "t"})


class TestOneRun:
    """From ready to ready."""

    @pytest.mark.parametrize("script", [COROUTINE, THREAD], ids=["coroutines", "threads"])
    async def test_slices(self, script: str, tmp_path: Path) -> None:
        """What came in is what was fired; the status keys of both spellings and the report are there."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, script)):
            await until(lambda: hq.statuses)
            await hq.announce(_run())
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

    async def test_raw(self, tmp_path: Path) -> None:
        """Each transaction is a numbered result of the run."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(0.5, results="raw"))
            await hq.complete()
            assert len(hq.results) == hq.report.transactions > 0
            assert {(result.run, result.turret_name) for result in hq.results} == {("r", "n")}

    async def test_one_after_the_other(self, tmp_path: Path) -> None:
        """The next run has numbers and counts of its own."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            for name in ("a", "b"):
                hq.acknowledged.clear()
                hq.slices.clear()
                await hq.announce(_run(0.3, name=name))
                await hq.complete()
                assert hq.transactions == hq.report.transactions > 0
                assert hq.slices[0].sequence == 1

    async def test_context_and_errors(self, tmp_path: Path) -> None:
        """The context reaches the script, and what it raises is counted by its text."""
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
            await hq.announce(_run(0.3))
            await hq.complete()
            errors = [part.errors for batch in hq.slices for part in batch.slices]
            assert {text for texts in errors for text in texts} == {"t"}

    async def test_stopped(self, tmp_path: Path) -> None:
        """Firing ends with the briefing, long before the time, and everything is delivered."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(1000))
            await until(lambda: hq.report.transactions > 0)
            await hq.stop()
            await hq.complete()
            assert hq.transactions == hq.report.transactions


class TestLosses:
    """A headquarters that is deaf, away, or gone for good."""

    async def test_deaf_for_a_while(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it did not acknowledge is sent again until it does, and counted once."""
        monkeypatch.setattr("smartmob.turrets.turret.state_machine.REPEAT_SECONDS", 0.2)
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(1.5, results="raw"))
            await until(lambda: len(hq.results) > 20)
            hq.deaf = True
            await asyncio.sleep(0.3)
            hq.deaf = False
            await hq.complete()
            assert len(hq.results) == hq.report.transactions
            assert hq.repeated > 0

    async def test_restarted(self, tmp_path: Path) -> None:
        """The run goes on meanwhile; the next headquarters gets what the first one did not acknowledge."""
        async with OwnHeadquarters() as first:
            ports = first.ports
            life = turret(package(tmp_path, ports))
            async with life as made:
                await until(lambda: first.statuses)
                run = _run(3.0, results="raw")
                await first.announce(run)
                await until(lambda: len(first.results) > 20)
                starts = first.starts
                await first.close()
                await until(lambda: any("gone" in text for text in made.said))
                async with OwnHeadquarters(ports) as second:
                    second.acknowledged = dict(first.acknowledged)
                    left = starts - asyncio.get_running_loop().time()
                    await second.announce(RunBriefing(id="r", starts_in=left, run_time=3.0, results="raw"))
                    await second.complete()
                    report = second.report
                    assert len(first.results) + len(second.results) == report.transactions
                    assert report.sequence == report.transactions

    async def test_gone_for_good(self, tmp_path: Path) -> None:
        """The turret gives up what nobody takes, says so, and is ready again."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, patience=0.5)) as made:
            await until(lambda: hq.statuses)
            await hq.announce(_run(2.0))
            await until(lambda: hq.report.users > 0)
            await hq.close()
            await until(lambda: any("are lost" in text for text in made.said))

    async def test_a_full_outbox(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Firing waits until the headquarters acknowledges, which is told, and nothing is lost."""
        monkeypatch.setattr(outbox, "MOST_MESSAGES", 50)
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, cannons=20)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(1000, results="raw"))
            await until(lambda: hq.report.paused)
            await hq.stop()
            await hq.complete()
            report = hq.report
            assert len(hq.results) == report.transactions


class TestProcesses:
    """`"processes": N`."""

    @pytest.mark.parametrize("results", ["slices", "raw"])
    async def test_they_are_one_turret(self, results: protocol.Results, tmp_path: Path) -> None:
        """All cannons fire, and what all of them did comes under one uuid with one row of numbers."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, THREAD, cannons=5, processes=2)):
            await until(lambda: hq.statuses)
            await hq.announce(_run(1000, results=results))
            await until(lambda: hq.report.users == 5 and hq.transactions)
            await hq.stop()
            await hq.complete()
            report = hq.report
            assert hq.transactions == report.transactions > 0
            assert report.health is not None
            assert report.health.processes == 3
            assert len(hq.acknowledged) == 1

    async def test_one_dies(self, tmp_path: Path) -> None:
        """The turret tells that it was aborted and why, delivers what the others did, and ends with 1."""
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
            async with turret(made) as life:
                await until(lambda: hq.statuses)
                await hq.announce(_run(100))
                assert await life.task == 1
            assert hq.statuses[-1].status == "Aborted"
            assert "ended with 9" in hq.report.reason


class TestTheTurretItself:
    """Its own errors and its end."""

    @pytest.mark.parametrize("processes", [1, 2])
    async def test_a_script_that_cannot_be_loaded(self, processes: int, tmp_path: Path) -> None:
        """The headquarters is told that it was aborted and why; then it ends with 1."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports, "x = 1", processes=processes)) as life:
            assert await life.task == 1
            await until(lambda: hq.statuses)
            assert hq.statuses[-1].status == "Aborted"
            assert any("no class Transaction" in text for text in life.said)

    async def test_killed_while_it_fires(self, tmp_path: Path) -> None:
        """What was fired until then is delivered, and the last status says that it is all."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)) as life:
            await until(lambda: hq.statuses)
            await hq.announce(_run(1000))
            await until(lambda: hq.report.transactions > 0)
            await hq.order("kill", "enough")
            assert await life.task == 0
            await until(lambda: hq.statuses[-1].status == "Killed" and hq.report.final)
            await until(lambda: hq.transactions == hq.report.transactions)

    async def test_nobody_is_there(self, tmp_path: Path, unused_tcp_port: int) -> None:
        """It waits, and ends when it is asked to."""
        async with turret(package(tmp_path, (unused_tcp_port, unused_tcp_port))) as life:
            await until(lambda: any("waits for orders" in text for text in life.said))
            assert await life.end() == 0

    async def test_an_address_that_is_none(self, tmp_path: Path) -> None:
        """The error names the key."""
        with pytest.raises(InvalidInput, match=r"\$\.hq_address"):
            async with turret(package(tmp_path, (1, 1), hq_address="no address")) as life:
                await life.task

    async def test_orders_that_are_none(self, tmp_path: Path) -> None:
        """They are told and left aside; those for another turret are not obeyed."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)) as life:
            await until(lambda: hq.statuses)
            for frame in (b"", b"no order", b"\xff", b' {"msg": 1}', b'another {"command": "kill", "msg": ""}'):
                await hq._publisher.send(frame)
            await until(lambda: sum("not understood" in text for text in life.said) == 4)
            hq.statuses.clear()
            await until(lambda: hq.statuses)
            assert hq.statuses[-1].status == "ready"

    async def test_an_order_for_this_one(self, tmp_path: Path) -> None:
        """The channel of its uuid is obeyed like that of everybody."""
        async with OwnHeadquarters() as hq, turret(package(tmp_path, hq.ports)) as life:
            await until(lambda: hq.statuses)
            order = json.dumps({"command": "kill", "msg": ""})
            await hq._publisher.send(f"{hq.statuses[0].uuid} {order}".encode())
            assert await life.task == 0


class TestEncryption:
    """CURVE."""

    async def test_with_keys(self, tmp_path: Path) -> None:
        """A turret that has the key of the headquarters fires; one without a key, or with another, is not heard."""
        public, secret = zmq.curve_keypair()
        async with OwnHeadquarters(keys=(public, secret)) as hq:
            stranger = Keys(zmq.curve_keypair()[0], *zmq.curve_keypair())
            async with (
                turret(package(tmp_path, hq.ports, name="plain")),
                turret(package(tmp_path, hq.ports, name="stranger"), stranger),
                turret(package(tmp_path, hq.ports, name="friend"), Keys(public, *zmq.curve_keypair())),
            ):
                await until(lambda: hq.statuses)
                await hq.announce(_run(0.3))
                await hq.complete()
            assert {status.turret for status in hq.statuses} == {"friend"}
            assert hq.transactions > 0
