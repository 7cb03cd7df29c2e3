"""The place of a measure: names of machines in real reports, tolerances, and what makes two machines different."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.metrics.model import Context
from smartmob.metrics.verdict.place import (
    PlaceRules,
    SessionOrigin,
    differences,
    different,
    hardware,
    kernel_name,
    place_differences,
    place_of,
    python_name,
    shared_name,
)
from tests.metrics.samples import context as sample

RULES = PlaceRules()
CPYTHON = "3.11.7 (main, Dec  8 2023, 18:56:58) [GCC 11.4.0]"

# Names as public reports and logs show them: of JUnit files, of terminals, and of error logs.
TEMPORARY = (
    *("fv-az123-456", "fv-az1250-48", "fv-az692", "FV-AZ702-886", "fv-az1690-151.internal.cloudapp.net"),
    *("runnervm0kj6c", "runnervmmklqx", "Mac-1690920197002.local"),
    *("runner-svzx4ujw-project-1-concurrent-0qd6hq", "runner-ns46nmmj-project-14022-concurrent-0"),
    *("runner-zxwgkjap-project-278964-concurrent-0-build", "runner-zxwgkjap-gsrm-1600000000-6ae3cab4"),
    *("codespaces-c24d64", "codespaces-f27eab", "travis-job-0f6264ed-5682-4548-864e-1786307cc2ba"),
    *("9f0c7b1f3a2e", "012345678901", "4b825dc642cb6eb9a060e54bf8d69288fbee4904d0f2a1c3e5b7d9f1a3c5e7f9"),
    *("default-8d4e0f0a-0b7a-4f2c-9a61-0a1b2c3d4e5f", "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "buildkitsandbox"),
    *("web-7d4b9c6f5d-x2x4z", "perf-tests-5c9f8d7b6c-k8s2q.default.svc", "jenkins-agent-8xk2p", "bench-job-xw9tz"),
    *("myproject-main-42-1x2y3-4k5l6-7m8n9", "gpu-set-x7k2p-runner-9z4kq", "cirrus-task-4721234567890123"),
)
NAMELESS = (
    *("", " ", "unknown", "Unknown", "(none)", "localhost", "LOCALHOST", "localhost.localdomain", "localhost6"),
    *("localhost4.localdomain4", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback", "127.0.0.1", "127.0.1.1"),
    *("::1", "1.0.0.127.in-addr.arpa", "1" + ".0" * 31 + ".ip6.arpa"),
)
NAMES = (
    *("rack7", "rack7.example.com", "bench01", "deadbeef", "perf-server", "ip-10-0-1-23.eu-west-1.compute.internal"),
    *("DESKTOP-4F2K9QP", "WIN-ABCDEFGHIJK", "MacBook-Pro-von-Eva.local", "cvpn095.mpi-hd.mpg.de", "raspberrypi"),
    *("build-server", "jenkins", "runner-7", "worker-node-01", "db-prd24", "web-0", "kafka-2", "lab-bench-rack7"),
    *("agent-smith", "test-machine", "localhosting.example.com", "gitlab-runner", "aaaaaaaaaaaaa", "node-4"),
)


def _context(**changes: Any) -> Context:
    given = sample(python_info=CPYTHON, **changes)
    return msgspec.convert(given | {"context_h": given["h"]}, Context)


@pytest.mark.parametrize("node", TEMPORARY)
def test_the_hardware_replaces_a_name_that_lasts_for_one_job(node: str) -> None:
    """Names of containers and of machines of CI services are recognised, and the reason is said."""
    found = place_of(_context(machine_node=node), SessionOrigin(), RULES)
    assert (found.rule, found.name, found.doubt) == ("hardware", "8 x A vendor, 16 GB", None)
    assert repr(node) in found.explanation


@pytest.mark.parametrize("node", NAMELESS)
def test_a_machine_without_a_name_of_its_own_is_in_doubt(node: str) -> None:
    """Names that each machine has leave the hardware, and without that the machine is unknown."""
    found = place_of(_context(machine_node=node), SessionOrigin(), RULES)
    assert (found.rule, found.doubt is None) == ("hardware", False)
    blank = dict.fromkeys(("cpu_vendor", "cpu_type", "system_info", "python_info"), "unknown")
    bare = msgspec.structs.replace(_context(machine_node=node, cpu_count=0, ram_total=0), **blank)
    found = place_of(bare, SessionOrigin(), RULES)
    assert (found.rule, found.name, found.host) == ("unknown", "unknown", None)
    assert "tag machine=NAME" in (found.doubt or "")


@pytest.mark.parametrize("node", NAMES)
def test_a_name_that_people_gave_identifies_the_machine(node: str) -> None:
    """Other names are the names of machines, although some look random."""
    found = place_of(_context(machine_node=node), SessionOrigin(host="other"), RULES)
    assert (found.rule, found.name, found.host, found.doubt) == ("host_name", node, node, None)


def test_own_patterns_name_further_machines_that_exist_for_one_job() -> None:
    """A pattern matches the whole name or its first part, in any case."""
    rules = PlaceRules(shared_names=("ip-10-*", "CI-??"))
    for node in ("ip-10-0-1-23.ec2.internal", "ci-07", "ci-07.example.com"):
        assert place_of(_context(machine_node=node), SessionOrigin(), rules).rule == "hardware"
        assert "--metrics-shared-names" in str(shared_name(node, rules))
    assert shared_name("ci-007", rules) is None


def test_a_tag_comes_first_and_the_address_before_the_hardware() -> None:
    """The tag names the machine; the host of the sender's address has the load, unless the machine has a name."""
    described = _context(machine_node="localhost")
    found = place_of(described, SessionOrigin("pool", "rack7"), RULES)
    assert (found.name, found.rule, found.host) == ("pool", "tag", "rack7")
    found = place_of(described, SessionOrigin(None, "rack7"), RULES)
    assert (found.name, found.rule, found.host, found.doubt) == ("rack7", "address", "rack7", None)
    assert "address of the machine rack7" in found.explanation
    assert place_of(_context(), SessionOrigin("pool", "rack8"), RULES).host == "rack7"
    assert place_of(None, SessionOrigin(), RULES).rule == "unknown"
    assert SessionOrigin.of({"runner": "a"}, None).tag == "a"
    assert SessionOrigin.of({"runner": "a", "machine": "b"}, None).tag == "b"
    assert SessionOrigin.of({"machine": ""}, "h") == SessionOrigin(None, "h")


SAME = (
    {"ram_total": 16003},
    {"ram_total": 15990},
    {"system_info": "Linux - 6.1.0-21-amd64"},
    {"python_info": "3.11.9 (main, Apr  6 2024, 17:59:24) [GCC 13.2.0]"},
    {"cpu_frequency": 1.0},
    {"cpu_type": ""},
    {"cpu_vendor": "A  vendor "},
)
DIFFERENT = (
    ({"ram_total": 32064}, "different machines: RAM 16 GB and 32 GB"),
    ({"ram_total": 15100}, "different machines: RAM 16 GB and 15 GB"),
    ({"cpu_count": 4}, "different machines: processors 8 and 4"),
    ({"cpu_vendor": "AMD EPYC 7763"}, "different machines: processor A vendor and AMD EPYC 7763"),
    ({"machine_type": "aarch64"}, "different machines: machine type x86_64 and aarch64"),
    ({"system_info": "Linux - 6.8.0-1014-azure"}, "different systems: system Linux 6.1 and Linux 6.8"),
    ({"system_info": "Windows - 10"}, "different systems: system Linux 6.1 and Windows 10"),
    ({"python_info": "3.12.1 (main)"}, "different Pythons: 3.11 and 3.12"),
    ({"python_info": "3.11.8 (x, y)\n[PyPy 7.3.15 with GCC 10.2.1]"}, "different Pythons: 3.11 and PyPy 3.11"),
)


@pytest.mark.parametrize("changes", SAME, ids=str)
def test_a_patch_or_some_megabytes_make_no_other_machine(changes: dict[str, Any]) -> None:
    """Values within the tolerances are of the same machine, in both directions."""
    one, other = _context(), msgspec.structs.replace(_context(), **changes)
    assert differences(one, other, RULES) == differences(other, one, RULES) == []


@pytest.mark.parametrize(("changes", "said"), DIFFERENT, ids=str)
def test_the_difference_of_two_machines_is_said_in_one_phrase(changes: dict[str, Any], said: str) -> None:
    """The words name the parts of both machines that differ."""
    found = differences(_context(), msgspec.structs.replace(_context(), **changes), RULES)
    assert different(found) == said


def test_the_tolerances_can_be_set() -> None:
    """Each rule can be stricter or be left out."""
    strict = PlaceRules(ram=0.0, kernel="exact", python="exact")
    for changes in SAME[:4]:
        assert differences(_context(), msgspec.structs.replace(_context(), **changes), strict) != [], changes
    loose = PlaceRules(ram=1.0, kernel="any", python="any")
    assert differences(_context(), _context(ram_total=1), loose) == []
    for number in (5, 7):
        assert differences(_context(), msgspec.structs.replace(_context(), **DIFFERENT[number][0]), loose) == []
    other = msgspec.structs.replace(_context(), system_info="Windows - 10")
    assert differences(_context(), other, loose) == ["system Linux and Windows"]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [(10_000, 10_600, "9.8 GB and 10.4 GB"), (64_200, 128_700, "64 GB and 128 GB"), (900, 500, "900 MB and 500 MB")],
)
def test_two_sizes_of_memory_are_said_so_that_they_differ(one: int, other: int, said: str) -> None:
    """Sizes are those that are installed, with a fraction where that is needed."""
    assert differences(_context(ram_total=one), _context(ram_total=other), RULES) == [f"RAM {said}"]


def test_a_report_without_hardware_is_not_of_a_described_machine() -> None:
    """A report with a host name alone was made by another tool."""
    bare = _context(cpu_count=0, ram_total=0, cpu_vendor="", cpu_type="", system_info="", machine_type="")
    assert differences(bare, _context(), RULES) == ["only the second describes its hardware"]
    assert differences(bare, bare, RULES) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("rack7", None, None), ("rack7.example.com", None, None), True),
        (("rack7", None, None), ("rack8", None, None), False),
        (("fv-az1-2", None, None), ("fv-az3-4", None, None), True),
        (("fv-az1-2", None, None), ("rack7", None, None), False),
        (("localhost", None, "rack7"), ("rack7.example.com", None, None), True),
        (("localhost", None, "rack7"), ("localhost", None, None), True),
        (("localhost", None, "rack7"), ("localhost", None, "rack8"), False),
        (("localhost", None, "rack7"), ("fv-az1-2", None, None), False),
        (("localhost", None, None), ("fv-az1-2", None, None), True),
        (("a", "perf", None), ("b", "Perf", None), True),
        (("a", "perf", None), ("b", "perf.large", None), False),
        (("rack7", "perf", None), ("rack7", None, None), False),
        (("rack7", None, None), ("x", "rack7", None), True),
    ],
)
def test_names_decide_whether_equal_hardware_is_the_same_machine(one: Any, other: Any, same: bool) -> None:
    """A host name may lack its domain; a tag is compared as a whole."""
    pair = []
    for node, tag, host in (one, other):
        described = _context(machine_node=node)
        pair.append((described, place_of(described, SessionOrigin(tag, host), RULES)))
    assert (place_differences(pair[0], pair[1], RULES) == []) == same


def test_versions_are_shortened_to_the_part_that_must_be_equal() -> None:
    """Kernels and Pythons of all kinds are read; a text without a version stays whole."""
    assert kernel_name("Linux - 6.5.0-1023-azure", "minor") == "Linux 6.5"
    assert kernel_name("Linux - 5.15.133.1-microsoft-standard-WSL2", "major") == "Linux 5"
    assert kernel_name("Darwin - 23.6.0", "minor") == "Darwin 23.6"
    assert kernel_name("Plan 9", "minor") == "Plan 9"
    assert kernel_name("unknown", "minor") == ""
    assert python_name("3.13.0 experimental free-threading build (main)", "minor") == "3.13 free-threading"
    assert python_name("3.10.13 (fc59, Jan)\n[PyPy 7.3.15 with GCC]", "minor") == "PyPy 3.10"
    assert python_name(CPYTHON, "major") == "3"
    assert python_name(CPYTHON, "any") == "Python"
    assert python_name("unknown", "minor") == ""
    assert hardware(_context(cpu_count=0, cpu_vendor="", ram_total=512)) == "x86_64, 512 MB"
