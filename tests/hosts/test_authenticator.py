"""The authenticator of machines: passwords and its caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from smartmob.errors import Unavailable
from smartmob.hosts.authenticator import HostAuthenticator, node_secret, scrypt
from tests.hosts.samples import client_id

pytestmark = pytest.mark.usefixtures("true_hash_cost")


class _Book:
    """The stored rows, and the names that were looked up."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.asked: list[str] = []

    async def find(self, name: str) -> Any:
        """Return the stored row of a name."""
        self.asked.append(name)
        await asyncio.sleep(0)
        found = self.stored.get(name)
        if isinstance(found, Exception):
            raise found
        return found


@cache
def _secret() -> bytes:
    """Return the hash of the password once for all tests: it takes 45 ms."""
    return scrypt("123", b"s" * 16)


@pytest.fixture(name="book")
def _book() -> _Book:
    """Return the rows of the machine `a` with the password `123`, and of the service's own machine."""
    book = _Book()
    book.stored = {
        "a": {"salt": b"s" * 16, "secret": _secret()},
        "own": {"salt": None, "secret": None},
    }
    return book


async def test_only_the_right_password_is_verified(book: _Book) -> None:
    """A wrong password, an unknown name and an invalid client id are refused."""
    authenticator = HostAuthenticator(book.find)
    assert await authenticator.verify(client_id("a")) == "a"
    for wrong in (client_id("a", "124"), client_id("b"), client_id("own", ""), "x", ""):
        assert await authenticator.verify(wrong) is None


async def test_a_client_id_is_looked_up_once(book: _Book) -> None:
    """A valid client id is found in the cache, and a wrong one is not looked up again."""
    authenticator = HostAuthenticator(book.find)
    assert authenticator.known(client_id("a")) is None
    for _ in range(3):
        assert await authenticator.verify(client_id("a")) == "a"
        assert await authenticator.verify(client_id("a", "x")) is None
    assert authenticator.known(client_id("a")) == "a"
    assert authenticator.known(client_id("a", "x")) is None
    assert book.asked == ["a", "a"]


async def test_concurrent_requests_share_one_verification(book: _Book) -> None:
    """Requests with the same client id wait for one result."""
    authenticator = HostAuthenticator(book.find)
    assert await asyncio.gather(*(authenticator.verify(client_id("a")) for _ in range(20))) == ["a"] * 20
    assert book.asked == ["a"]


async def test_a_forgotten_machine_is_looked_up_again(book: _Book) -> None:
    """After a removal or registration the machine is looked up again; others stay in the cache."""
    authenticator = HostAuthenticator(book.find)
    await authenticator.verify(client_id("a"))
    assert await authenticator.verify(client_id("b", "new")) is None
    book.stored["b"] = {"salt": b"t" * 16, "secret": scrypt("new", b"t" * 16)}
    del book.stored["a"]
    authenticator.forget("b")
    assert await authenticator.verify(client_id("b", "new")) == "b"
    assert await authenticator.verify(client_id("a")) == "a"
    authenticator.forget("a")
    assert await authenticator.verify(client_id("a")) is None


async def test_a_node_is_verified_without_a_slow_hash(book: _Book) -> None:
    """Its row has no salt; a wrong password takes as long as that of any machine, and no cache keeps its name."""
    authenticator = HostAuthenticator(book.find)
    book.stored["rack7"] = {"salt": None, "secret": node_secret("f" * 64)}
    right = client_id("rack7", "f" * 64)
    assert await authenticator.verify(right) == "rack7"
    assert authenticator.hashes == 0
    assert await authenticator.verify(client_id("rack7", "e" * 64)) is None
    assert authenticator.hashes == 1
    authenticator.forget("rack7")
    assert authenticator.known(right) is None
    assert await authenticator.verify(right) == "rack7"


async def test_a_failed_lookup_is_unavailable_and_not_cached(book: _Book) -> None:
    """Requests that wait for the same result get Unavailable, and nothing is cached."""
    book.stored["a"] = Unavailable("the database is away")
    authenticator = HostAuthenticator(book.find)
    outcomes = await asyncio.gather(*(authenticator.verify(client_id("a")) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    book.stored["a"] = {"salt": b"s" * 16, "secret": scrypt("123", b"s" * 16)}
    assert await authenticator.verify(client_id("a")) == "a"


async def test_known_machines_do_not_wait_behind_new_ones(book: _Book) -> None:
    """Many new machines wait for their turn and none is lost; a cached one is answered at once."""
    authenticator = HostAuthenticator(book.find)
    await authenticator.verify(client_id("a"))
    fleet = [f"rack{number}" for number in range(10)]
    secret = scrypt("123", b"f" * 16)
    book.stored |= {name: {"salt": b"f" * 16, "secret": secret} for name in fleet}
    order: list[str | None] = []

    async def come(name: str) -> None:
        order.append(await authenticator.verify(client_id(name)))

    comers = [asyncio.ensure_future(come(name)) for name in fleet]
    await asyncio.sleep(0)
    assert len(book.asked) == 1 + len(fleet)
    await come("a")
    assert order == ["a"]
    await asyncio.gather(*comers)

    assert sorted(order, key=str) == sorted(["a", *fleet])
    assert sorted(book.asked) == sorted(["a", *fleet])


class _Counting(ThreadPoolExecutor):
    """Threads that count how many tasks they have at a time."""

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


async def test_two_passwords_are_hashed_at_a_time(book: _Book) -> None:
    """However many machines come or register at once."""
    authenticator, threads = HostAuthenticator(book.find), _Counting()
    asyncio.get_running_loop().set_default_executor(threads)
    await asyncio.gather(
        *(authenticator.verify(client_id("a", f"wrong{number}")) for number in range(6)),
        *(authenticator.hashed(f"new{number}") for number in range(6)),
    )
    assert threads.most == 2


async def test_a_full_queue_is_unavailable(book: _Book) -> None:
    """Requests above the limit get Unavailable, and are accepted once the queue is shorter."""
    asked = asyncio.Event()

    async def find(name: str) -> Any:
        await asked.wait()
        return await book.find(name)

    authenticator = HostAuthenticator(find)
    waiting = [asyncio.ensure_future(authenticator.verify(client_id(f"rack{number}"))) for number in range(5_000)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="try again"):
        await authenticator.verify(client_id("a"))
    with pytest.raises(Unavailable, match="try again"):
        await authenticator.hashed("new")

    # Each of them would be hashed, which takes minutes for so many.
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    asked.set()
    assert await authenticator.verify(client_id("a")) == "a"


async def test_each_hash_has_its_own_salt(book: _Book) -> None:
    """The same password has two hashes."""
    authenticator = HostAuthenticator(book.find)
    (one, first), (two, second) = await authenticator.hashed("x"), await authenticator.hashed("x")
    assert one != two
    assert first != second
    assert scrypt("x", one) == first
    assert b"x" not in (first, second)


async def test_an_unknown_name_costs_the_same_work(book: _Book) -> None:
    """Neither an unknown name nor one without a password is refused without a hash, so time reveals no names."""
    authenticator = HostAuthenticator(book.find)

    async def hashes(ident: str) -> int:
        before = authenticator.hashes
        assert await authenticator.verify(ident) is None
        return authenticator.hashes - before

    for ident in (client_id("a", "wrong"), client_id("b"), client_id("own", "x")):
        assert await hashes(ident) == 1


@pytest.mark.parametrize("garbage", ["", "x", "=" * 8, "\udcff", "QQ==", "\x00" * 40, "x" * 10_000])
async def test_an_invalid_client_id_costs_nothing(garbage: str, book: _Book) -> None:
    """It is refused without a query, a hash, or a place in the queue."""
    authenticator = HostAuthenticator(book.find)
    waiting = [asyncio.ensure_future(authenticator.verify(client_id("a"))) for _ in range(2)]
    for _ in range(20):
        assert await authenticator.verify(garbage) is None
    assert await asyncio.gather(*waiting) == ["a", "a"]
    assert authenticator.hashes == 1
    assert book.asked == ["a"]
