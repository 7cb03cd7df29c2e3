"""Process tags: all descendants of a program inherit them, and other processes can read them."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from smartmob.kernel.subprocesses.process_tag import HIGHEST_TAG, ProcessTags, lowest_free
from tests.namespaces import NAMESPACE
from tests.waiting import until


@pytest.fixture(autouse=True)
def own_limit() -> Iterator[None]:
    """Give this process tags that services in other tests do not take for theirs: they would kill its children."""
    limits = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (1 << 62, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_RSS, limits)


def _start(tags: ProcessTags, tag: int, *command: str) -> subprocess.Popen[str]:
    limits = resource.getrlimit(resource.RLIMIT_RSS)
    tags.apply(tag)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    resource.setrlimit(resource.RLIMIT_RSS, limits)
    return process


def _plain() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)


def _answer(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("tag", [1, 7, HIGHEST_TAG])
def test_all_descendants_of_a_program_have_its_tag(tag: int) -> None:
    """Neither an empty environment nor another session removes it."""
    tags = ProcessTags()
    assert tags.supported()
    with _start(tags, tag, "setsid", "env", "-i", "/bin/sh", "-c", "sleep 60 & echo $!; read _; kill $!") as process:
        assert tags.of(_answer(process)) == tag
        assert tags.of(process.pid) == tag
        process.communicate()


def test_other_processes_have_no_tag() -> None:
    """Process 1, an ended process and an untagged child have none."""
    tags = ProcessTags()
    with subprocess.Popen(["true"]) as ended:
        pass
    assert [tags.of(pid) for pid in (ended.pid, 1)] == [0, 0]
    assert tags.supported()
    with _plain() as process:
        assert tags.of(process.pid) == 0


INNER = """
import subprocess, sys
from smartmob.kernel.subprocesses.process_tag import ProcessTags
tags = ProcessTags()
tags.apply(int(sys.argv[1]))
with subprocess.Popen(["cat"]) as inner:
    print(inner.pid, flush=True)
"""


def test_a_tagged_service_tags_its_own_children() -> None:
    """A child of the inner service has the inner tag for that service, and the outer tag for the outer one."""
    outer = ProcessTags()
    with _start(outer, 5, sys.executable, "-c", INNER, "9") as process:
        inner = _answer(process)
        assert outer.of(inner) == 5
        outer.apply(5)
        assert ProcessTags().of(inner) == 9
        outer.apply(6)
        assert ProcessTags().of(inner) == 0
        process.communicate()


@pytest.mark.parametrize("limit", [0, 1 << 30, (1 << 61) - 1])
def test_a_low_limit_leaves_no_tags(limit: int) -> None:
    """The limit was set by the administrator, or the nesting is too deep."""
    _, hard = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (limit, hard))
    assert not ProcessTags().supported()
    assert resource.getrlimit(resource.RLIMIT_RSS) == (limit, hard)


def test_tags_are_not_supported_where_the_system_refuses_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sandboxes refuse to set the limit."""

    def refuse(*_: object) -> None:
        raise ValueError("not allowed")

    tags = ProcessTags()
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert not tags.supported()


def test_checking_the_support_leaves_the_own_limit_unchanged() -> None:
    """A process that is started afterwards has no tag."""
    before = resource.getrlimit(resource.RLIMIT_RSS)
    assert ProcessTags().supported()
    assert resource.getrlimit(resource.RLIMIT_RSS) == before


def test_the_lowest_free_tag_is_given() -> None:
    """A tag is given again when no child has it any more."""
    assert [lowest_free([]), lowest_free([1, 2, 4]), lowest_free([2]), lowest_free(range(HIGHEST_TAG))] == [
        1,
        3,
        1,
        HIGHEST_TAG,
    ]


async def test_a_tagged_process_without_a_subreaper_is_abandoned() -> None:
    """Untagged relatives are not found."""
    tags = ProcessTags()
    with _start(tags, 3, "sh", "-c", "sleep 60 & echo $!; read _; kill $!") as tagged:
        inner = _answer(tagged)
        with _plain() as plain:
            found = tags.abandoned()
            assert {tagged.pid, inner} <= set(found)
            assert plain.pid not in found
        tagged.communicate()
    await until(lambda: {tagged.pid, inner}.isdisjoint(tags.abandoned()))


IN_NAMESPACE = """
import os, subprocess
from smartmob.kernel.subprocesses.process_tag import ProcessTags
tags = ProcessTags()
tags.apply(3)
assert os.getsid(0) == 0
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
    assert set(tags.abandoned()) == {os.getpid(), child.pid}
assert tags.abandoned() == [os.getpid()]
"""


@pytest.mark.machine
def test_a_process_with_a_session_outside_its_namespace_can_be_abandoned() -> None:
    """The number of such a session is 0; an ended process has no session."""
    subprocess.run([*NAMESPACE, sys.executable, "-c", IN_NAMESPACE], check=True)


SUBREAPER = """
import subprocess
from smartmob.kernel.subprocesses import process_tree
process_tree.become_subreaper(process_tree.SUBREAPER)
with subprocess.Popen(["cat"]) as child:
    print(child.pid, flush=True)
"""


def test_a_process_below_a_subreaper_is_not_abandoned() -> None:
    """It may be the subreaper of any service."""
    tags = ProcessTags()
    with _start(tags, 3, "sh", "-c", 'exec "$@"', "sh", sys.executable, "-c", SUBREAPER) as subreaper:
        assert _answer(subreaper) not in tags.abandoned()
        subreaper.communicate()
