"""Measures of tests: a plugin of pytest that does nothing without its option `--measures FILE`.

It measures the call of a test alone, without its fixtures, and writes one line of JSON for each test. `smartmob ab`
loads a copy of this file into environments without smartmob, so it uses only pytest and the standard library, and runs
with Python 3.8 and pytest 7.

| Key of a line | Value |
|---|---|
| `test`, `file` | node id, and the file that has the test |
| `outcome` | `passed`, `failed` or `skipped`, the worst of all calls |
| `wall`, `cpu`, `queue` | ns of each call: by the clock, of the thread on a processor, and of waiting for a processor |
| `setup`, `teardown` | ns of the fixtures, of each call |
| `memory` | bytes by which the resident memory grew at its peak during the first call, Linux only |
| `counts` | labels of the dumps of Valgrind that have the instructions of each call |
| `instructions` | the instructions of each call by the counters of the processor, if the plan asks for them |

The last line has the key `session` instead: the files from which the watched modules were imported. In a run of all
tests the first line has the key `collected`: their node ids, so that one which ends the process is known, and
the key `start`: the seconds of the processor that the process has needed until then.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import platform
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

_RESET_PEAK = "5"  # written to /proc/PID/clear_refs, it sets the peak of the resident memory to its size; proc(5)
_TESTS_BETWEEN_FREEZES = 50
"""Tests after which the objects that exist are set aside: a search for garbage would go through all earlier reports."""


def pytest_addoption(parser: Any) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("smartmob")
    group.addoption("--measures", metavar="FILE", help="append what the call of each test costs to FILE, as JSON lines")
    group.addoption("--measures-plan", metavar="FILE", help="a JSON file: tests with their number of calls, and more")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: Any, parser: Any, args: list[str]) -> None:
    """Take the options of plugins that the project has switched off, as by `-p no:xdist`, out of the command line."""
    optional = _plan(early_config.known_args_namespace.measures_plan).get("optional", ())
    unknown = parser.parse_known_and_unknown_args(args)[1] if optional else ()
    for word in optional:
        if word in unknown:
            args.remove(word)


def _plan(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    with open(path, encoding="utf-8") as file:
        plan: dict[str, Any] = json.load(file)
    return plan


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: Any) -> None:
    """Change options of the project that would distort measures or write files, before the plugins read them."""
    if config.getoption("measures") and _plan(config.getoption("measures_plan")).get("plain"):
        _make_plain(config.option, os.path.dirname(os.path.abspath(config.getoption("measures"))))


def _make_plain(option: Any, folder: str) -> None:
    """Have benchmarks called once, as any test, and no reports written; files of pytest-benchmark go to `folder`.

    On the command line these options would contradict those of `addopts`.
    """
    option.xmlpath = None
    if hasattr(option, "codspeed"):
        option.codspeed = False
    if hasattr(option, "benchmark_disable"):
        if option.benchmark_only:
            option.benchmark_skip = False  # as pytest-benchmark understands both together
        option.benchmark_disable, option.benchmark_only, option.benchmark_enable = True, False, False
        option.benchmark_storage = os.path.join(folder, "benchmarks")


def pytest_configure(config: Any) -> None:
    """Start to measure if the option asks for it."""
    if config.getoption("measures"):
        plan = _plan(config.getoption("measures_plan"))
        config.pluginmanager.register(Measures(config.getoption("measures"), plan), "smartmob-measuring")


class Measures:
    """The hooks that measure. `plan` is the document of the option `--measures-plan`."""

    def __init__(self, path: str, plan: dict[str, Any]) -> None:
        self._path = os.path.abspath(path)
        self._plan = plan
        self._tests: dict[str, int] | None = plan.get("tests")
        self._record: dict[str, Any] = {}
        self._counter = InstructionCounter() if plan.get("instructions") else None
        self._hardware = HardwareCounter() if plan.get("hardware") else None
        self._memory = MemoryPeak()
        named = plan.get("memory")
        self._with_memory = None if named is None else frozenset(named)
        self._slower = float(plan.get("slower") or 0.0)
        # Libraries that set the time in tests replace the functions of `time`, also in modules that have imported them.
        self._clocks: tuple[Any, Any] = (time.perf_counter_ns, time.thread_time_ns)
        self._number = self._calls = self._called = self._begun = 0
        self._fixtures_ns = 0
        processor = plan.get("processor")
        if processor is not None:
            os.sched_setaffinity(0, {processor})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Keep the tests of the plan."""
        if self._tests is not None:
            kept: list[Any] = []
            left_out: list[Any] = []
            for item in items:
                (kept if item.nodeid in self._tests else left_out).append(item)
            if left_out:
                config.hook.pytest_deselected(items=left_out)
                items[:] = kept

    def pytest_collection_finish(self, session: Any) -> None:
        """Set the modules of the tests aside, so that collecting garbage before each call costs little."""
        if self._tests is None:
            self._write({"collected": [item.nodeid for item in session.items], "start": time.process_time()})
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> None:
        """Run all calls of a test but the last, with new fixtures for each; pytest runs the last."""
        from _pytest.runner import runtestprotocol

        calls = self._plan.get("calls", 1) if self._tests is None else self._tests.get(item.nodeid, 1)
        self._record = {"test": item.nodeid, "file": str(getattr(item, "path", item.location[0])), "outcome": "passed"}
        for name in ("wall", "cpu", "queue", "setup", "teardown", "counts", "instructions"):
            self._record[name] = []
        self._record["memory"] = None
        self._calls, self._called = calls, 0
        self._begun += 1
        if self._begun % _TESTS_BETWEEN_FREEZES == 0:
            gc.freeze()
        for _ in range(calls - 1):
            # With the parent as the next item, pytest ends the fixtures of the test itself and keeps all others.
            runtestprotocol(item, log=False, nextitem=item.parent)
            if self._record["outcome"] != "passed":
                break

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        """Take the time of the fixtures before the call; that of pytest may end when a fixture has set the clock."""
        began = self._clocks[0]()
        yield
        self._fixtures_ns = self._clocks[0]() - began

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Take the time of the fixtures after the call."""
        began = self._clocks[0]()
        yield
        self._fixtures_ns = self._clocks[0]() - began

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any) -> Iterator[None]:
        """Record the outcome of each phase, and the time of the fixtures."""
        outcome = yield
        report = outcome.get_result()  # type: ignore[attr-defined]  # a result of pluggy, which has no stubs here
        if self._record.get("test") != item.nodeid:
            return
        if report.when in ("setup", "teardown"):
            self._record[report.when].append(self._fixtures_ns)
        if report.outcome == "failed" or (report.outcome == "skipped" and self._record["outcome"] == "passed"):
            self._record["outcome"] = report.outcome

    def _measures_memory(self, item: Any) -> bool:
        """Return whether the memory of this call is measured: only of a first one, and of all tests without a plan."""
        return not self._record["wall"] and (self._with_memory is None or item.nodeid in self._with_memory)

    def _counts_call(self) -> bool:
        """Return whether the instructions of this call are written: not those of a first call before others."""
        self._called += 1
        return self._called > 1 or self._calls == 1

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self, item: Any) -> Iterator[None]:
        """Measure one call; this wrapper is the innermost, so other plugins are not measured."""
        record = self._record
        if record.get("test") != item.nodeid:
            yield
            return
        gc.collect()
        if self._counter is not None:
            self._number += 1
            label = str(self._number)
            self._counter.begin()
            yield
            if self._counts_call():
                self._counter.end(label)
                record["counts"].append(label)
            return
        if self._hardware is not None:
            self._hardware.begin()
            yield
            record["instructions"].append(self._hardware.end())
            return
        memory, held = self._memory.before() if self._measures_memory(item) else (None, [])
        wall_ns, cpu_ns = self._clocks
        queue = _queue_ns()
        cpu = cpu_ns()
        wall = wall_ns()
        yield
        if self._slower:
            end = wall + int((wall_ns() - wall) * (1 + self._slower))
            while wall_ns() < end:
                pass
        wall = wall_ns() - wall
        cpu = cpu_ns() - cpu
        queue = _queue_ns() - queue
        if memory is not None:
            record["memory"] = max(0, _status("VmHWM") - memory)
        held.clear()
        record["wall"].append(wall)
        record["cpu"].append(cpu)
        record["queue"].append(queue)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write the line of a test."""
        if self._record.get("test") == nodeid:
            self._write(self._record)
            self._record = {}

    def pytest_sessionfinish(self) -> None:
        """Write the line of the session."""
        modules = {name: getattr(sys.modules.get(name), "__file__", None) for name in self._plan.get("modules", ())}
        self._write({"session": {"modules": modules}})

    def _write(self, record: dict[str, Any]) -> None:
        # One write to a file that is opened for appending is whole, also beside other workers.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, (json.dumps(record) + "\n").encode())
        finally:
            os.close(descriptor)


def _queue_ns() -> int:
    """Return how long this thread has waited for a processor while it could run, or 0 where it is unknown."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


class MemoryPeak:
    """The growth of the resident memory in a call, also if the process has free memory of earlier tests.

    Free memory of the C library is given back first. CPython keeps free memory for small objects, which is taken up
    by objects that are held during the call, until it has to get more from the system.
    """

    _OBJECT_BYTES = 478  # with the head of an object of bytes it is the largest size that CPython calls small, 512
    _BATCH_COUNT = 256  # objects, 128 KiB, a half of the smallest unit that CPython gets from the system
    _MOST_BATCHES_COUNT = 64  # 8 MiB

    def __init__(self) -> None:
        import ctypes

        self._trim: Any = None
        try:
            self._trim = ctypes.CDLL(None).malloc_trim
        except (OSError, TypeError, AttributeError):  # another C library than that of GNU
            pass

    def before(self) -> tuple[int | None, list[Any]]:
        """Return the resident memory in bytes, whose peak begins here, and what the caller holds during the call.

        The memory is None where the kernel cannot reset a peak.
        """
        if not os.path.exists("/proc/self/clear_refs"):
            return None, []
        held = self._taken_up()
        if self._trim is not None:
            self._trim(0)
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write(_RESET_PEAK)
            return _status("VmRSS"), held
        except (OSError, ValueError):
            return None, held

    def _taken_up(self) -> list[Any]:
        held: list[Any] = [None] * (self._BATCH_COUNT * self._MOST_BATCHES_COUNT)
        size = _virtual_pages()
        for start in range(0, len(held), self._BATCH_COUNT):
            held[start : start + self._BATCH_COUNT] = [bytes(self._OBJECT_BYTES) for _ in range(self._BATCH_COUNT)]
            if _virtual_pages() > size:
                break
        return held


def _virtual_pages() -> int:
    """Return the size of the address space in pages, the first number of /proc/self/statm."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0])


def _status(name: str) -> int:
    """Return a size of /proc/self/status in bytes."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(name.encode()):
                return int(line.split()[1]) * 1024
    raise ValueError(name)


class InstructionCounter:
    """Asks Valgrind's tool callgrind, under which this process runs, to count instructions.

    A program talks to Valgrind by a sequence of machine instructions that changes nothing elsewhere, followed by an
    exchange of a register with itself ("client requests", Valgrind's manual, 3.1). Only that of x86-64 is known here.
    Raises RuntimeError when this process does not run under Valgrind.
    """

    RUNNING_ON_VALGRIND = 0x1001  # the numbers of requests are those of valgrind.h and callgrind.h
    _TOOL = ord("C") << 24 | ord("T") << 16
    DUMP_STATS_AT, ZERO_STATS, START_INSTRUMENTATION = _TOOL + 3, _TOOL + 1, _TOOL + 4
    # mov rax, rdi | xor edx, edx | rol rdi, 3; 13; 61; 51 | xchg rbx, rbx | mov rax, rdx | ret
    _CODE = "4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3"

    def __init__(self) -> None:
        import ctypes
        import mmap

        if platform.machine() not in ("x86_64", "AMD64"):
            raise RuntimeError("instructions can be counted on x86-64 only")
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(bytes.fromhex(self._CODE))
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._request = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(start)
        self._arguments = (ctypes.c_uint64 * 6)()
        self._address = ctypes.addressof(self._arguments)
        self._label = ctypes.create_string_buffer(32)
        self._label_address = ctypes.addressof(self._label)
        self._started = False
        if not self._ask(self.RUNNING_ON_VALGRIND):
            raise RuntimeError("instructions can be counted under Valgrind only")

    def begin(self) -> None:
        """Count from zero."""
        if not self._started:
            self._started = True
            self._ask(self.START_INSTRUMENTATION)
        self._ask(self.ZERO_STATS)

    def end(self, label: str) -> None:
        """Make Valgrind write the count to a file, with a label."""
        self._label.value = label.encode()
        self._ask(self.DUMP_STATS_AT, self._label_address)

    def _ask(self, number: int, argument: int = 0) -> int:
        self._arguments[0], self._arguments[1] = number, argument
        return int(self._request(self._address))


_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}  # the number of the system call


class HardwareCounter:
    """Counts the instructions of this process and of threads that it starts, outside the kernel; perf_event_open(2).

    Raises RuntimeError where the processor has no counters, or the kernel does not allow their use. `kind` and `event`
    are `type` and `config` of the event.
    """

    HARDWARE, INSTRUCTIONS = 0, 1  # PERF_TYPE_HARDWARE and PERF_COUNT_HW_INSTRUCTIONS of linux/perf_event.h
    _DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 0, 1 << 1, 1 << 5, 1 << 6  # bits of attr
    _CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC of linux/perf_event.h
    _ENABLE, _DISABLE, _RESET = 0x2400, 0x2401, 0x2403  # requests of ioctl
    _ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")  # perf_event_attr in its first version, 64 bytes

    def __init__(self, kind: int = HARDWARE, event: int = INSTRUCTIONS) -> None:
        import ctypes

        number = _PERF_EVENT_OPEN.get(platform.machine())
        if number is None or not sys.platform.startswith("linux"):
            raise RuntimeError("instructions cannot be counted by the processor on this kind of machine")
        flags = self._DISABLED | self._INHERIT | self._EXCLUDE_KERNEL | self._EXCLUDE_HYPERVISOR
        attributes = self._ATTRIBUTES.pack(kind, self._ATTRIBUTES.size, event, 0, 0, 0, flags, 0, 0, 0)
        syscall = ctypes.CDLL(None, use_errno=True).syscall
        # This process, on any processor, in no group.
        self._descriptor = syscall(number, attributes, 0, -1, -1, self._CLOSE_ON_EXEC)
        if self._descriptor < 0:
            reason = os.strerror(ctypes.get_errno())
            raise RuntimeError("instructions cannot be counted by the processor: " + reason)

    def begin(self) -> None:
        """Count from zero."""
        fcntl.ioctl(self._descriptor, self._RESET)
        fcntl.ioctl(self._descriptor, self._ENABLE)

    def end(self) -> int:
        """Return what was counted since `begin`."""
        fcntl.ioctl(self._descriptor, self._DISABLE)
        return int.from_bytes(os.read(self._descriptor, 8), sys.byteorder)

    def close(self) -> None:
        """Release the counter."""
        os.close(self._descriptor)
