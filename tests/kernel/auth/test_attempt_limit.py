"""The limit of failed attempts by address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog

from smartmob.errors import NotAuthenticated, TooManyTries, Unavailable
from smartmob.kernel.auth import attempt_limit as module
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.events import AttemptMade, Credential
from smartmob.kernel.runtime.events import EventBus

RIGHT = "right"


class _Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class _Route:
    """A route that accepts one secret, and counts its checks."""

    def __init__(self, most: int) -> None:
        self.clock, self.bus = _Clock(), EventBus()
        self.tries = AttemptLimit(most, seconds=self.clock, bus=self.bus)
        self.checked = 0

    def attempt(self, secret: str, client: str | None = "192.0.2.1") -> bool:
        """Return whether a secret is accepted; raises TooManyTries."""

        def check() -> bool:
            self.checked += 1
            if secret != RIGHT:
                raise NotAuthenticated
            return True

        try:
            return self.tries.check_now(Credential(client, secret, "header", "/jobs"), check)
        except NotAuthenticated:
            return False

    async def attempt_slowly(
        self, secret: str, work: Callable[[], Awaitable[Any]], client: str | None = "192.0.2.1"
    ) -> bool:
        """Return whether a secret is accepted by a check that takes time; raises TooManyTries."""

        async def check() -> bool:
            self.checked += 1
            await work()
            if not secret.startswith(RIGHT):
                raise NotAuthenticated
            return True

        try:
            return await self.tries.check(Credential(client, secret, "client_id", "/echo"), check)
        except NotAuthenticated:
            return False

    def use_up(self, client: str | None = "192.0.2.1") -> None:
        """Send wrong secrets until none is checked any more."""
        with pytest.raises(TooManyTries):
            for number in range(10_000):
                self.attempt(f"wrong {client} {number}", client)


def test_above_the_limit_no_credential_is_checked() -> None:
    """After the allowed failed attempts of an address the next one is refused before any work."""
    route = _Route(3)
    assert [route.attempt(f"wrong {number}") for number in range(3)] == [False] * 3
    with pytest.raises(TooManyTries):
        route.attempt("wrong 3")
    with pytest.raises(TooManyTries):
        route.attempt(RIGHT)
    assert (route.checked, route.tries.refused, route.tries.limited) == (3, 3, 2)
    assert route.attempt(RIGHT, "192.0.2.2")


@pytest.mark.parametrize(("most", "wait"), [(1, 60), (3, 20), (7, 9), (60, 1), (600, 1)])
def test_retry_after_is_exactly_long_enough(most: int, wait: int) -> None:
    """Waiting for the named time is enough for one more attempt, and one second less is not."""
    route = _Route(most)
    for number in range(most):
        route.attempt(f"wrong {number}")
    with pytest.raises(TooManyTries) as limited:
        route.attempt("another")
    assert limited.value.retry_after == wait
    route.clock.now += wait - 1
    if wait > 1:
        with pytest.raises(TooManyTries):
            route.attempt("another")
    route.clock.now += 1
    assert not route.attempt("another")


def test_an_idle_address_gets_no_more_than_the_limit() -> None:
    """However long an address is idle, it has no more attempts at once than those of a minute."""
    route = _Route(5)
    route.use_up()
    route.clock.now += 86_400
    route.checked = 0
    with pytest.raises(TooManyTries):
        for number in range(100):
            route.attempt(f"later {number}")
    assert route.checked == 5


def test_a_repeated_wrong_secret_counts_once() -> None:
    """One machine that repeats a wrong secret does not lock out the others of its address."""
    route = _Route(3)
    for _ in range(100):
        assert not route.attempt("misconfigured")
    assert route.tries.refused == 1
    assert route.attempt(RIGHT)


def test_an_accepted_secret_stays_accepted_at_its_address() -> None:
    """It is accepted at its address although others used up the attempts, and at no other address."""
    route = _Route(3)
    assert route.attempt(RIGHT)
    route.use_up()
    assert route.attempt(RIGHT)
    route.use_up("192.0.2.2")
    with pytest.raises(TooManyTries):
        route.attempt(RIGHT, "192.0.2.2")


def test_a_success_restores_no_attempt() -> None:
    """A client with one right secret cannot test others without a limit by sending it in between."""
    route = _Route(3)
    route.attempt(RIGHT)
    with pytest.raises(TooManyTries):
        for number in range(100):
            route.attempt(f"wrong {number}")
            route.attempt(RIGHT)
    assert route.tries.refused == 3


def test_a_secret_that_became_invalid_is_limited_again() -> None:
    """A secret that was accepted before and is refused now counts as a failed attempt."""
    route = _Route(2)
    holds = True

    def check() -> None:
        if not holds:
            raise NotAuthenticated

    credential = Credential("192.0.2.1", "revoked", "header", "/jobs")
    route.tries.check_now(credential, check)
    holds = False
    with pytest.raises(NotAuthenticated):
        route.tries.check_now(credential, check)
    assert route.tries.refused == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"),
        ("2001:db8:0:1::1%eth0", "2001:db8:0:1::2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, None),
    ],
)
def test_one_network_is_one_client(one: str | None, other: str | None) -> None:
    """An IPv6 /64 network is one client, and a mapped IPv4 address equals the IPv4 address."""
    route = _Route(3)
    route.use_up(one)
    with pytest.raises(TooManyTries):
        route.attempt("wrong", other)


@pytest.mark.parametrize("other", ["2001:db8:0:2::1", "192.0.2.2", "::ffff:192.0.2.2"])
def test_another_network_has_its_own_attempts(other: str) -> None:
    """Another network or address has its own attempts."""
    route = _Route(3)
    route.use_up("2001:db8:0:1::1")
    route.use_up("192.0.2.1")
    assert not route.attempt("wrong", other)


def test_memory_is_bounded() -> None:
    """However many addresses send however many secrets, the remembered ones are bounded."""
    route = _Route(1_000)
    for number in range(module.MAX_ADDRESSES + 100):
        route.attempt("wrong", f"10.0.{number // 256}.{number % 256}")
    for number in range(500):
        route.attempt(f"wrong {number}")
    assert len(route.tries) == module.MAX_ADDRESSES
    assert route.tries.remembered <= module.MAX_ADDRESSES + module.MAX_REFUSED
    for number in range(module.MAX_ACCEPTED + 100):
        route.attempt(RIGHT, f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert route.tries.remembered <= module.MAX_ADDRESSES + module.MAX_REFUSED + module.MAX_ACCEPTED


async def test_addresses_without_failures_are_forgotten() -> None:
    """An address whose credentials were all accepted takes no entry."""
    route = _Route(3)
    assert await route.attempt_slowly(RIGHT, lambda: asyncio.sleep(0))
    assert len(route.tries) == 0


async def test_concurrent_wrong_secrets_are_limited() -> None:
    """Of many wrong secrets at the same time no more are checked than the address has attempts."""
    route = _Route(5)
    outcomes = await asyncio.gather(
        *(route.attempt_slowly(f"wrong {number}", lambda: asyncio.sleep(0)) for number in range(200)),
        return_exceptions=True,
    )
    assert route.checked == 5
    assert [type(outcome) for outcome in outcomes].count(TooManyTries) == 195


async def test_concurrent_right_secrets_are_all_accepted() -> None:
    """A fleet behind one address that reconnects at once is accepted, a few at a time."""
    route, most = _Route(5), 0
    under_way = 0

    async def work() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    outcomes = await asyncio.gather(*(route.attempt_slowly(f"{RIGHT} {number}", work) for number in range(300)))
    assert outcomes == [True] * 300
    assert most == 5


async def test_a_repeated_wrong_secret_at_the_same_time_counts_once() -> None:
    """Many connections of one misconfigured program use up one attempt."""
    route = _Route(3)
    outcomes = await asyncio.gather(*(route.attempt_slowly("wrong", lambda: asyncio.sleep(0)) for _ in range(50)))
    assert outcomes == [False] * 50
    assert route.tries.refused == 1
    assert await route.attempt_slowly(RIGHT, lambda: asyncio.sleep(0))


async def test_a_cancelled_or_failed_check_uses_no_attempt() -> None:
    """Clients that disconnect, and a database that is unavailable, use up no attempt and block no other check."""
    route, gate = _Route(1), asyncio.Event()

    async def away() -> None:
        raise Unavailable

    with pytest.raises(Unavailable):
        await route.attempt_slowly("first", away)
    checking = asyncio.create_task(route.attempt_slowly("second", gate.wait))
    waiting = [asyncio.create_task(route.attempt_slowly(f"{RIGHT} {number}", gate.wait)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    checking.cancel()
    gate.set()
    outcomes = await asyncio.gather(checking, *waiting, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, True, False, False]
    assert outcomes[2:] == [True, True]


def test_zero_means_no_limit() -> None:
    """With 0 each credential is checked, and refused ones are still counted and logged."""
    route = _Route(0)
    assert not any(route.attempt(f"wrong {number}") for number in range(1_000))
    assert (route.checked, route.tries.refused, route.tries.limited) == (1_000, 1_000, 0)


def test_refusals_are_logged_without_secrets() -> None:
    """Each refused credential is logged once with its address, the limit once, and no secret."""
    route = _Route(2)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            route.attempt("s3cret 1")
        route.use_up()
        for _ in range(3):
            with pytest.raises(TooManyTries):
                route.attempt("s3cret 2")
    assert [line["event"] for line in lines] == ["auth.refused", "auth.refused", "auth.limited"]
    assert all((line["client"], line["shown"], line["path"]) == ("192.0.2.1", "header", "/jobs") for line in lines)
    assert "s3cret" not in str(lines)
    assert "s3cret" not in repr(Credential("192.0.2.1", "s3cret", "header", "/jobs"))


def test_processes_that_share_attempts_limit_an_address_together() -> None:
    """Each new attempt is told once, with the same digest everywhere; an accepted one is accepted everywhere."""
    here, there = _Route(2), _Route(2)
    there.tries.key = here.tries.key
    here.bus.subscribe(AttemptMade, lambda made: there.tries.record(made.address, made.digest, accepted=made.accepted))
    assert here.attempt(RIGHT)
    assert not here.attempt("wrong")
    assert not here.attempt("wrong")
    assert [address for address, _ in there.tries.refused_now()] == ["192.0.2.1"]
    assert not there.attempt("other")
    with pytest.raises(TooManyTries):
        there.attempt("third")
    assert there.attempt(RIGHT)  # over the limit, but it was accepted elsewhere
    assert (here.tries.refused, there.tries.refused) == (1, 1)
