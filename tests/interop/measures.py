"""Metrics of many runs of a project's suites: enough to fill several pages of each listing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.metrics.samples import context, metric, session

Documents = list[dict[str, Any]]

WORKERS = 9
BUILDS = 8
FEATURES = 6
UNTAGGED = 2
_LATE = BUILDS + 1
_PRIME = 211


def contexts() -> Documents:
    """Return machines; some of their figures are whole numbers, and some texts are empty or not ASCII."""
    return [
        context(
            f"{n:x}" * 32,
            cpu_count=n + 1,
            cpu_frequency=2600.0 if n % 3 == 0 else 2000 + n / 7,
            cpu_vendor="" if n == 4 else f"Vendor {n}",
            ram_total=1024 * (n + 1),
            machine_node=f"knöten-{n}" if n == 5 else f"rack{n}",
            python_info=f"3.11.{n} (main)\n[GCC 12.2.0]",
        )
        for n in range(1, 10)
    ]


def _hash(n: int) -> str:
    return f"{n:02x}" * 16


def _commit(n: int) -> str:
    return f"{n * 3 + 100:x}" * 20


def sessions() -> Documents:
    """Return sessions: builds of a branch, parallel workers of the latest, builds of others, and two without a CI."""

    def of(n: int, commit: int, **tags: str) -> dict[str, Any]:
        date = f"2026-11-{1 + n % 28:02d}T12:{n:02d}:00.{n:06d}"
        return session(_hash(n), run_date=date, scm_ref=_commit(commit), description=tags)

    def ci(branch: str, build: int) -> dict[str, str]:
        return {"pipeline_branch": branch, "pipeline_build_no": str(build), "__ci__": "jenkinsci"}

    found = [of(n, n, **ci("main", n), compiler="gcc 12") for n in range(1, BUILDS + 1)]
    found += [of(10 + n, 10, **ci("main", _LATE), worker=f"gw{n}", compiler="clang 16") for n in range(WORKERS)]
    found += [of(30 + n, 30 + n, **ci("release-1.x", n), compiler="gcc 12", size="groß") for n in range(1, 4)]
    found += [of(40 + n, 40 + n, **ci(f"feature-{n}", 1), note="") for n in range(FEATURES)]
    found += [of(50, 50, description="by hand", size="klein"), of(51, 50)]
    return found


def metrics() -> Documents:
    """Return metrics in their order of arrival; the five measures of each are different from those of all others."""
    found: Documents = []
    for session_h, n in _arrivals():
        made = _item(n)
        index = len(found)
        found.append(
            metric(
                session_h=session_h,
                context_h=f"{1 + index % 9:x}" * 32,
                item_start_time=f"2026-11-20T13:{index // 60:02d}:{index % 60:02d}.{index:06d}",
                **made,
                total_time=(index * 37 % _PRIME + 1) / 7,
                user_time=(index * 53 % _PRIME + 1) / 9,
                kernel_time=(index * 71 % _PRIME + 1) / 90,
                cpu_usage=(index * 97 % _PRIME + 1) / 150,
                mem_usage=(index * 113 % _PRIME - 40) / 11,
            )
        )
    assert len(found) < _PRIME, "more would make equal measures, of which no client promises an order"
    return found


def _arrivals() -> Iterator[tuple[str, int]]:
    """Yield the hash of a session and the number of a test: in turn where sessions are workers of one run."""
    for document in sessions():
        if "worker" not in document["description"]:
            yield from ((document["session_h"], n) for n in range(5))
    for n in range(5):
        yield from ((_hash(10 + worker), n) for worker in range(WORKERS))
    # A test that only one session ran, and one whose session never came.
    yield _hash(31), 5
    yield _hash(99), 0


def _item(n: int) -> dict[str, str]:
    module = "store" if n in (2, 3) else "core"
    item, variant, component, kind = (
        ("test_insert", "test_insert[1, 2]", "core", "function"),
        ("test_insert", "test_insert[x y, ü]", "core", "function"),
        ("test_scan", "test_scan[10]", "store.disk", "function"),
        ("test_store", "", "store", "module"),
        ("test_plain", "test_plain", "", "function"),
        ("test_rare", "test_rare", "rare", "function"),
    )[n]
    return {
        "item_path": f"tests.{module}",
        "item": item,
        "item_variant": variant,
        "item_fs_loc": f"tests/test_{module}.py",
        "kind": kind,
        "component": component,
    }
