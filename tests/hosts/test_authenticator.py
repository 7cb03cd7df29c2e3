"""Passwords, and what is remembered of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from smartmob.errors import Unavailable
from smartmob.hosts.authenticator import HostAuthenticator, scrypt
from tests.hosts.samples import client_id


class _Book:
    """What is stored, and how often somebody asked."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.asked: list[str] = []

    async def find(self, name: str) -> Any:
        """Return what is stored for a name."""
        self.asked.append(name)
        await asyncio.sleep(0)
        found = self.stored.get(name)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(name="book")
def _book() -> _Book:
    """Return a book with the machine `a` and its password `123`, and the service's own machine."""
    book = _Book()
    book.stored = {
        "a": {"salt": b"s" * 16, "secret": scrypt("123", b"s" * 16)},
        "own": {"salt": None, "secret": None},
    }
    return book


async def test_right_and_wrong(book: _Book) -> None:
    """The right password proves the name; a wrong one, an unknown name and what is no client id prove nothing."""
    guardian = HostAuthenticator(book.find)
    assert await guardian.verify(client_id("a")) == "a"
    for wrong in (client_id("a", "124"), client_id("b"), client_id("own", ""), "x", ""):
        assert await guardian.verify(wrong) is None


async def test_once_for_each(book: _Book) -> None:
    """What was verified is known at once, and what was wrong is not asked for again."""
    guardian = HostAuthenticator(book.find)
    assert guardian.known(client_id("a")) is None
    for _ in range(3):
        assert await guardian.verify(client_id("a")) == "a"
        assert await guardian.verify(client_id("a", "x")) is None
    assert guardian.known(client_id("a")) == "a"
    assert guardian.known(client_id("a", "x")) is None
    assert book.asked == ["a", "a"]


async def test_at_the_same_time(book: _Book) -> None:
    """Many who ask for the same wait for one answer."""
    guardian = HostAuthenticator(book.find)
    assert await asyncio.gather(*(guardian.verify(client_id("a")) for _ in range(20))) == ["a"] * 20
    assert book.asked == ["a"]


async def test_forgotten(book: _Book) -> None:
    """A machine that was removed or registered is asked for anew; the others stay known."""
    guardian = HostAuthenticator(book.find)
    await guardian.verify(client_id("a"))
    assert await guardian.verify(client_id("b", "new")) is None
    book.stored["b"] = {"salt": b"t" * 16, "secret": scrypt("new", b"t" * 16)}
    del book.stored["a"]
    guardian.forget("b")
    assert await guardian.verify(client_id("b", "new")) == "b"
    assert await guardian.verify(client_id("a")) == "a"
    guardian.forget("a")
    assert await guardian.verify(client_id("a")) is None


async def test_when_it_cannot_be_asked(book: _Book) -> None:
    """Who waits for the same is told to try again, and nothing is remembered."""
    book.stored["a"] = Unavailable("the database is away")
    guardian = HostAuthenticator(book.find)
    outcomes = await asyncio.gather(*(guardian.verify(client_id("a")) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    book.stored["a"] = {"salt": b"s" * 16, "secret": scrypt("123", b"s" * 16)}
    assert await guardian.verify(client_id("a")) == "a"


async def test_a_fleet_after_a_restart(book: _Book) -> None:
    """Machines that all come at once wait for their turn and none is lost; who is known does not wait behind them."""
    guardian = HostAuthenticator(book.find)
    await guardian.verify(client_id("a"))
    fleet = [f"rack{number}" for number in range(30)]
    book.stored |= {name: {"salt": b"f" * 16, "secret": scrypt("123", b"f" * 16)} for name in fleet}
    order: list[str | None] = []

    async def come(name: str) -> None:
        order.append(await guardian.verify(client_id(name)))

    comers = [asyncio.ensure_future(come(name)) for name in fleet]
    await asyncio.sleep(0)
    assert len(book.asked) == 1 + len(fleet)
    await come("a")
    assert order == ["a"]
    await asyncio.gather(*comers)

    assert sorted(order, key=str) == sorted(["a", *fleet])
    assert sorted(book.asked) == sorted(["a", *fleet])


class _Counting(ThreadPoolExecutor):
    """Threads that count how much is given to them at a time."""

    def __init__(self) -> None:
        super().__init__(8)
        self.now = self.most = 0

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        future = super().submit(work, *arguments, **options)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: Future[Any]) -> None:
        self.now -= 1


async def test_two_at_a_time(book: _Book) -> None:
    """However many machines come or register at once, two passwords are hashed at a time."""
    guardian, threads = HostAuthenticator(book.find), _Counting()
    asyncio.get_running_loop().set_default_executor(threads)
    await asyncio.gather(
        *(guardian.verify(client_id("a", f"wrong{number}")) for number in range(6)),
        *(guardian.hashed(f"new{number}") for number in range(6)),
    )
    assert threads.most == 2


async def test_more_than_can_wait(book: _Book) -> None:
    """The queue has an end: later ones are told to try again, and get in once there is room."""
    asked = asyncio.Event()

    async def find(name: str) -> Any:
        await asked.wait()
        return await book.find(name)

    guardian = HostAuthenticator(find)
    waiting = [asyncio.ensure_future(guardian.verify(client_id(f"rack{number}"))) for number in range(5_000)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="try again"):
        await guardian.verify(client_id("a"))
    with pytest.raises(Unavailable, match="try again"):
        await guardian.hashed("new")

    # Each of them would be hashed, which takes minutes for so many.
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    asked.set()
    assert await guardian.verify(client_id("a")) == "a"


async def test_a_new_password(book: _Book) -> None:
    """It is hashed with a salt of its own."""
    guardian = HostAuthenticator(book.find)
    (one, first), (two, second) = await guardian.hashed("x"), await guardian.hashed("x")
    assert one != two
    assert first != second
    assert scrypt("x", one) == first
    assert b"x" not in (first, second)


async def test_an_unknown_name_costs_the_same_work(book: _Book) -> None:
    """Neither an unknown name nor one without a password is refused without a hash, so time tells no names."""
    guardian = HostAuthenticator(book.find)

    async def work(ident: str) -> float:
        before = time.process_time()
        assert await guardian.verify(ident) is None
        return time.process_time() - before

    known = min([await work(client_id("a", f"wrong {number}")) for number in range(3)])
    assert min([await work(client_id(f"b{number}")) for number in range(3)]) > known / 4
    assert await work(client_id("own", "x")) > known / 4


@pytest.mark.parametrize("garbage", ["", "x", "=" * 8, "\udcff", "QQ==", "\x00" * 40, "x" * 10_000])
async def test_garbage_costs_nothing(garbage: str, book: _Book) -> None:
    """What is no client id is refused without a question to the database, a hash, or a place among those that wait."""
    guardian = HostAuthenticator(book.find)
    waiting = [asyncio.ensure_future(guardian.verify(client_id("a"))) for _ in range(2)]
    before = time.process_time()
    for _ in range(2_000):
        assert await guardian.verify(garbage) is None
    # A hash takes some tens of milliseconds: two thousand would take a minute.
    assert time.process_time() - before < 10
    assert await asyncio.gather(*waiting) == ["a", "a"]
    assert book.asked == ["a"]
