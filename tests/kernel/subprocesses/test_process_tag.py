"""Brands: inherited by all that a program starts, whatever it does, and readable from outside."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from smartmob.kernel.subprocesses.process_tag import MOST, ProcessTags, free
from tests.namespaces import NAMESPACE
from tests.waiting import until


@pytest.fixture(autouse=True)
def own_limit() -> Iterator[None]:
    """Give this process brands that services in other tests do not take for theirs, which would kill who has one."""
    limits = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (1 << 62, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_RSS, limits)


def _start(brands: ProcessTags, brand: int, *command: str) -> subprocess.Popen[str]:
    limits = resource.getrlimit(resource.RLIMIT_RSS)
    brands.wear(brand)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    resource.setrlimit(resource.RLIMIT_RSS, limits)
    return process


def _plain() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)


def _answer(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("brand", [1, 7, MOST])
def test_all_that_a_program_starts_has_its_brand(brand: int) -> None:
    """Also without an environment, in another session, and twice removed."""
    brands = ProcessTags()
    assert brands.work()
    with _start(
        brands, brand, "setsid", "env", "-i", "/bin/sh", "-c", "sleep 60 & echo $!; read _; kill $!"
    ) as process:
        assert brands.of(_answer(process)) == brand
        assert brands.of(process.pid) == brand
        process.communicate()


def test_who_has_no_brand_of_ours() -> None:
    """The process itself, the first one of the machine, and one that has ended."""
    brands = ProcessTags()
    with subprocess.Popen(["true"]) as ended:
        pass
    assert [brands.of(pid) for pid in (ended.pid, 1)] == [0, 0]
    assert brands.work()
    with _plain() as process:
        assert brands.of(process.pid) == 0


INNER = """
import subprocess, sys
from smartmob.kernel.subprocesses.process_tag import Brands
brands = Brands()
brands.wear(int(sys.argv[1]))
with subprocess.Popen(["cat"]) as inner:
    print(inner.pid, flush=True)
"""


def test_a_branded_service_brands_in_turn() -> None:
    """What it starts has its own brand for it, and for the outer service that of the inner one."""
    outer = ProcessTags()
    with _start(outer, 5, sys.executable, "-c", INNER, "9") as process:
        inner = _answer(process)
        assert outer.of(inner) == 5
        outer.wear(5)
        assert ProcessTags().of(inner) == 9
        outer.wear(6)
        assert ProcessTags().of(inner) == 0
        process.communicate()


@pytest.mark.parametrize("limit", [0, 1 << 30, (1 << 61) - 1])
def test_there_are_no_brands_below_a_limit(limit: int) -> None:
    """Somebody has set it, or the nesting is too deep to tell more apart."""
    _, hard = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (limit, hard))
    assert not ProcessTags().work()
    assert resource.getrlimit(resource.RLIMIT_RSS) == (limit, hard)


def test_brands_that_the_system_refuses_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sandboxes know only the limits that everybody uses."""

    def refuse(*_: object) -> None:
        raise ValueError("not allowed")

    brands = ProcessTags()
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert not brands.work()


def test_trying_leaves_the_own_limit_as_it_was() -> None:
    """What this process starts otherwise has no brand."""
    before = resource.getrlimit(resource.RLIMIT_RSS)
    assert ProcessTags().work()
    assert resource.getrlimit(resource.RLIMIT_RSS) == before


def test_the_least_free_brand() -> None:
    """Numbers are given again once nothing has them any more."""
    assert [free([]), free([1, 2, 4]), free([2]), free(range(MOST))] == [1, 3, 1, MOST]


async def test_what_nobody_keeps_is_abandoned() -> None:
    """A branded process without a keeper above it is found; its brandless relatives are not."""
    brands = ProcessTags()
    with _start(brands, 3, "sh", "-c", "sleep 60 & echo $!; read _; kill $!") as branded:
        inner = _answer(branded)
        with _plain() as plain:
            found = brands.abandoned()
            assert {branded.pid, inner} <= set(found)
            assert plain.pid not in found
        branded.communicate()
    await until(lambda: {branded.pid, inner}.isdisjoint(brands.abandoned()))


IN_NAMESPACE = """
import os, subprocess
from smartmob.kernel.subprocesses.process_tag import Brands
brands = Brands()
brands.wear(3)
assert os.getsid(0) == 0
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
    assert set(brands.abandoned()) == {os.getpid(), child.pid}
assert brands.abandoned() == [os.getpid()]
"""


@pytest.mark.machine
def test_what_has_a_session_of_the_outside_is_abandoned_all_the_same() -> None:
    """Within a namespace of process ids the number of such a session is 0; what has ended has none at all."""
    subprocess.run([*NAMESPACE, sys.executable, "-c", IN_NAMESPACE], check=True)


KEEPER = """
import subprocess
from smartmob.kernel.subprocesses import trees
trees.become_reaper(trees.KEEPER)
with subprocess.Popen(["cat"]) as child:
    print(child.pid, flush=True)
"""


def test_what_a_keeper_keeps_is_not_abandoned() -> None:
    """Whosever keeper that is."""
    brands = ProcessTags()
    with _start(brands, 3, "sh", "-c", 'exec "$@"', "sh", sys.executable, "-c", KEEPER) as keeper:
        assert _answer(keeper) not in brands.abandoned()
        keeper.communicate()
