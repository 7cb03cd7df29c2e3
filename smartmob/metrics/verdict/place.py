"""The place of a measure: the machine and the Python on which a test ran, decided by rules that can be seen and set.

A tag of the session comes first (`machine=NAME` or `runner=NAME`), then the host name of the machine, then the machine
from whose address the session came, then the hardware: host names of containers and of CI services last for one job and
identify no machine. Two places are the same if their names are the same, and their hardware, kernel and Python agree
within the tolerances. A machine without a name and without a described hardware is unknown. No I/O.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

import msgspec

from smartmob.kernel.runtime.host_names import is_same_host
from smartmob.metrics.model import Context, Place

MACHINE_TAGS = ("machine", "runner")
"""The tags of a session that name its machine; the first one that is given counts."""

Level = Literal["exact", "minor", "major", "any"]

_MEANINGLESS_NAMES = (
    (re.compile(r"|unknown|\(none\)|none|null|n/a|-"), "no name"),
    (
        re.compile(r"(?:ip6-)?localhost[46]?(?:[.]localdomain[46]?)?|ip6-loopback|127(?:\.\d+){3}|::1|0\.0\.0\.0"),
        "a name that each machine has",
    ),
    # CPython issue 79345: getfqdn() on macOS returns the name of the loopback address.
    (re.compile(r".*\.(?:in-addr|ip6)\.arpa"), "the name of a loopback address"),
)
"""Patterns of host names, in lower case, that any machine can have, and their meanings."""

# Kubernetes makes the random part of names of these letters (k8s.io/apimachinery/pkg/util/rand).
_POD_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_TEMPORARY_NAMES = (
    # Docker and Podman: the first twelve digits of the container's id. GitHub's and CircleCI's jobs in containers too.
    (re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}"), "a container"),
    (re.compile(r"buildkitsandbox"), "a container that builds an image"),
    (re.compile(r"fv-az\d+(?:-\d+)?|runnervm[0-9a-z]{4,8}|mac-\d{10,16}"), "a runner of GitHub Actions"),
    # The executors for Docker and Kubernetes add `-project-…`; the one for Docker Machine begins with `runner-`, too.
    (re.compile(r"runner-[0-9a-z_-]{6,}-project-\d+(?:-concurrent)?-?[0-9a-z-]*"), "a runner of GitLab"),
    (re.compile(r"runner-[0-9a-z_-]{6,}-\d{10}-[0-9a-f]{8}"), "a runner of GitLab"),
    (re.compile(r"codespaces-[0-9a-f]{6}"), "a codespace of GitHub"),
    (re.compile(rf"travis-job-(?:{_UUID}|.+)"), "a job of Travis CI"),
    (re.compile(rf"(?:default-)?{_UUID}"), "a virtual machine of a CI service"),
    (re.compile(r"cirrus-(?:ci-)?task-\d+"), "a task of Cirrus CI"),
    (re.compile(r"appveyor-vm|appvyr-win"), "a machine of AppVeyor"),
    # Of a Deployment: the hash of its template, then the pod. Of a pipeline of Jenkins: two or three random parts.
    (re.compile(rf".+-[{_POD_LETTERS}]{{8,10}}-[{_POD_LETTERS}]{{5}}"), "a pod of Kubernetes"),
    (re.compile(rf".+(?:-[01{_POD_LETTERS}]{{5}}){{2,3}}"), "a pod of Kubernetes"),
    # Of a Job or of a set of runners: one random part, which a name that people chose may have by chance.
    (re.compile(rf".*(?:agent|build|job|pod|runner|worker).*-[{_POD_LETTERS}]{{5}}"), "a pod of Kubernetes"),
)
"""Patterns of the first label of host names, in lower case, that last for one job, and what has such a name."""

_UNKNOWN_TEXTS = frozenset(("", "unknown", "none", "n/a"))
_VERSION = re.compile(r"\d+(?:\.\d+)*")
_LEVEL_NUMBERS: Mapping[Level, int | None] = {"exact": None, "minor": 2, "major": 1, "any": 0}
_MB_IN_GB = 1024  # MiB, which the plugin counts
_USABLE_SHARE = 0.97  # of the installed memory, at least, as Linux shows it on machines of 16 to 128 GB


class PlaceRules(msgspec.Struct, frozen=True):
    """The tolerances within which two machines are the same, and patterns of further names that identify no machine.

    `ram` is a share. `kernel` and `python` name the part of the version that must be equal.
    """

    ram: float = 0.05
    kernel: Level = "minor"
    python: Level = "minor"
    shared_names: tuple[str, ...] = ()


class SessionOrigin(msgspec.Struct, frozen=True):
    """The origin of a session: the machine that its tags name, and the machine that has the sender's address."""

    tag: str | None = None
    host: str | None = None

    @classmethod
    def of(cls, tags: Mapping[str, str], host: str | None) -> SessionOrigin:
        """Return the origin of a session with some tags."""
        return cls(next((tags[name] for name in MACHINE_TAGS if tags.get(name)), None), host)


class SharedName(msgspec.Struct, frozen=True):
    """The meaning of a host name that does not identify a machine. A `temporary` name lasts for one job."""

    meaning: str
    temporary: bool


def shared_name(node: str, rules: PlaceRules) -> SharedName | None:
    """Return None if a host name identifies a machine, else its meaning."""
    return _shared_name(node, rules.shared_names)


@lru_cache(maxsize=10_000)
def _shared_name(node: str, patterns: tuple[str, ...]) -> SharedName | None:
    name = node.strip().lower()
    label = name.partition(".")[0]
    for pattern, what in _MEANINGLESS_NAMES:
        if pattern.fullmatch(name):
            return SharedName(what, temporary=False)
    for pattern, what in _TEMPORARY_NAMES:
        if pattern.fullmatch(label):
            return SharedName(f"the name of {what}", temporary=True)
    if any(fnmatchcase(text, pattern.lower()) for pattern in patterns for text in (name, label)):
        return SharedName("a name of --metrics-shared-names", temporary=True)
    return None


def place_of(context: Context | None, origin: SessionOrigin, rules: PlaceRules) -> Place:
    """Return the place of a measure; `context` is None if it is not stored."""
    node = "" if context is None else context.machine_node
    shared = shared_name(node, rules)
    python = "" if context is None else python_name(context.python_info, rules.python)
    host = node if shared is None else origin.host or origin.tag
    if origin.tag is not None:
        return Place(origin.tag, "tag", python, f"the session has the tag {origin.tag!r}", None, host)
    if shared is None:
        return Place(node, "host_name", python, "it is the host name of the machine", None, node)
    called = f"the host name {node!r} is {shared.meaning}" if node else "the report has no host name"
    if origin.host is not None:
        why = f"{called}, and the session came from the address of the machine {origin.host}"
        return Place(origin.host, "address", python, why, None, host)
    if context is None or not is_described(context):
        return Place("unknown", "unknown", python, f"{called}, and no hardware is described", _UNKNOWN_DOUBT, None)
    why = f"{called}, so all machines with this hardware count as one"
    doubt = None if shared.temporary else _UNNAMED_DOUBT
    return Place(hardware(context), "hardware", python, why, doubt, None)


_HOW_TO_NAME = "give the session the tag machine=NAME, or let the machine report its load (smartmob report-host)"
_UNKNOWN_DOUBT = f"it is not known which machine this was: {_HOW_TO_NAME}"
_UNNAMED_DOUBT = f"several machines may have this hardware and no name of their own: {_HOW_TO_NAME}"


def unlinked(place: Place, reporting: Sequence[str]) -> str | None:
    """Return why none of the machines that reported their load is that of a place, and how to link one, or None."""
    if place.host is None:
        return f"its machine has no name of its own: {_HOW_TO_NAME}"
    if any(is_same_host(name, place.host) for name in reporting):
        return None
    return (
        f"none reported its load as {place.host} meanwhile: start `smartmob report-host` there, or give the "
        "session the tag machine=NAME of one that does"
    )


def effective_name(place: Place) -> str:
    """Return the name that another place must have to be the same, "" if its hardware decides."""
    return place.name if place.rule in ("tag", "host_name", "address") else ""


def may_lack_address(place: Place) -> bool:
    """Return whether a machine has no name of its own, and is known by its address or not at all.

    Sessions of former versions and those that come through a proxy have no address. They are of the same machine as
    those with one, as far as the hardware tells; `doubt` says that this is not certain.
    """
    return place.rule == "address" or (place.rule in ("hardware", "unknown") and place.doubt is not None)


def is_node_of(node: str, place: Place) -> bool:
    """Return whether a host name that identifies a machine is that of a place."""
    name = effective_name(place)
    return node.lower() == name.lower() if place.rule == "tag" else name != "" and is_same_host(node, name)


def is_same_name(one: Place, other: Place) -> bool:
    """Return whether the names of two places mean the same machine. Tags are free texts and have no domain."""
    first, second = effective_name(one), effective_name(other)
    if may_lack_address(one) and may_lack_address(other) and not (first and second):
        return True
    if "tag" in (one.rule, other.rule) or not first or not second:
        return first.lower() == second.lower()
    return is_same_host(first, second)


# -- hardware ---------------------------------------------------------------------------------------------------------


def is_described(context: Context) -> bool:
    """Return whether a context describes the hardware; reports in JUnit XML have a host name at most."""
    return context.cpu_count > 0 or context.ram_total > 0 or is_known(context.cpu_vendor)


def is_known(text: str) -> bool:
    """Return whether a field of a context has a meaningful value."""
    return text.strip().lower() not in _UNKNOWN_TEXTS


def hardware(context: Context) -> str:
    """Return the hardware of a machine in words, such as `4 x AMD EPYC 7763 64-Core Processor, 16 GB`."""
    processor = next((text for text in (context.cpu_vendor, context.cpu_type) if is_known(text)), "processors")
    parts = [f"{context.cpu_count} x {processor}" if context.cpu_count > 0 else processor]
    if context.ram_total > 0:
        parts.append(_gigabytes(context.ram_total))
    return ", ".join(parts)


def _gigabytes(megabytes: int, digits: int = 0) -> str:
    gigabytes = megabytes / _MB_IN_GB
    # The system reserves some of it: 32 GB are 31.3 GB for programs.
    installed = 2.0 ** math.ceil(math.log2(max(gigabytes, 1.0)))
    if digits == 0 and gigabytes >= _USABLE_SHARE * installed:
        gigabytes = installed
    return f"{megabytes} MB" if gigabytes < 1 else f"{gigabytes:.{digits}f} GB"


def differences(theirs: Context, ours: Context, rules: PlaceRules) -> list[str]:
    """Return in words, such as `RAM 16 GB and 32 GB`, what makes two contexts different apart from the host name."""
    if is_described(theirs) != is_described(ours):
        which = "second" if is_described(ours) else "first"
        return [f"only the {which} describes its hardware"]
    found = [
        _two("processors", str(theirs.cpu_count), str(ours.cpu_count))
        if _differ(theirs.cpu_count, ours.cpu_count)
        else "",
        _texts("processor", theirs.cpu_vendor, ours.cpu_vendor),
        _texts("type of processor", theirs.cpu_type, ours.cpu_type),
        _memory(theirs.ram_total, ours.ram_total, rules.ram),
        _texts("machine type", theirs.machine_type, ours.machine_type),
        _texts("architecture", theirs.machine_arch, ours.machine_arch),
        _texts("system", kernel_name(theirs.system_info, rules.kernel), kernel_name(ours.system_info, rules.kernel)),
        _texts("Python", python_name(theirs.python_info, rules.python), python_name(ours.python_info, rules.python)),
    ]
    return [each for each in found if each]


def _differ(one: int, other: int) -> bool:
    return one > 0 and other > 0 and one != other


def _texts(what: str, one: str, other: str) -> str:
    same = " ".join(one.split()) == " ".join(other.split())
    return "" if same or not is_known(one) or not is_known(other) else _two(what, one, other)


def _two(what: str, one: str, other: str) -> str:
    return f"{what} {one} and {other}"


def _memory(one: int, other: int, tolerance: float) -> str:
    if one <= 0 or other <= 0 or abs(one - other) <= tolerance * max(one, other):
        return ""
    for digits in (0, 1):
        if _gigabytes(one, digits) != _gigabytes(other, digits):
            return _two("RAM", _gigabytes(one, digits), _gigabytes(other, digits))
    return f"RAM {one} MB and {other} MB"


# -- versions ---------------------------------------------------------------------------------------------------------


def kernel_name(system_info: str, level: Level) -> str:
    """Return the part of `Linux - 6.1.0-18-amd64` that must be equal, such as `Linux 6.1`; "" if it is not known."""
    if not is_known(system_info):
        return ""
    system, _, release = system_info.partition(" - ")
    return _shortened(system.strip(), release.strip(), level)


def python_name(python_info: str, level: Level) -> str:
    """Return the part of `sys.version` that must be equal, such as `3.11`, `PyPy 3.10` or `3.13 free-threading`."""
    if not is_known(python_info):
        return ""
    if level == "exact":
        return " ".join(python_info.split())
    kind = next((name for name in ("PyPy", "GraalVM", "Pyston", "Jython") if name in python_info), "")
    build = "free-threading" if "free-threading" in python_info else ""
    version = _shortened("", python_info, level)
    return " ".join(part for part in (kind, version, build) if part) or "Python"


def _shortened(name: str, text: str, level: Level) -> str:
    count = _LEVEL_NUMBERS[level]
    version = _VERSION.search(text)
    if count is None or (version is None and count):
        return f"{name} {text}".strip()
    kept = "" if version is None else ".".join(version[0].split(".")[:count])
    return f"{name} {kept}".strip()


# -- two sides --------------------------------------------------------------------------------------------------------


class ComparedPlaces(msgspec.Struct, frozen=True):
    """The places of both sides of a comparison. `differences` says what makes them different machines, `explanation` in
    a sentence what that means for the comparison, null if nothing is in doubt. `across` is whether they were compared
    nevertheless.
    """

    base: list[Place]
    head: list[Place]
    across: bool
    differences: list[str]
    explanation: str | None


def place_differences(
    theirs: tuple[Context | None, Place], ours: tuple[Context | None, Place], rules: PlaceRules
) -> list[str]:
    """Return in words what makes two places different; [] if they are the same."""
    found = []
    if not is_same_name(theirs[1], ours[1]):
        found.append(_two("machine", *(effective_name(place) or place.name for place in (theirs[1], ours[1]))))
    if theirs[0] is not None and ours[0] is not None:
        found += differences(theirs[0], ours[0], rules)
    elif theirs[0] is not ours[0]:
        found.append("the context of one side is not stored")
    return found


def different(found: Sequence[str]) -> str:
    """Return the differences of two places in one phrase."""
    if all(each.startswith("Python ") for each in found):
        return f"different Pythons: {'; '.join(each.removeprefix('Python ') for each in found)}"
    if all(each.startswith(("system ", "Python ")) for each in found):
        return f"different systems: {'; '.join(found)}"
    return f"different machines: {'; '.join(found)}"
