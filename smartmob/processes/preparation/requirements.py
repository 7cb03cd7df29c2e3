"""The installation that the files of a source ask for: by pip, uv, poetry or pipenv.

The first of these files that the source has decides: `requirements.txt`, `uv.lock`, `poetry.lock`, `Pipfile.lock` or
`Pipfile`, and a `pyproject.toml` that describes a project.
"""

from __future__ import annotations

import codecs
import locale
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from smartmob.processes.preparation import toml_text

REQUIREMENTS = "requirements.txt"
PROJECT = "pyproject.toml"
FILES = (REQUIREMENTS, PROJECT, "Pipfile")
"""The files of which a source has at least one if it needs an installation; the lock files go with the last two."""
MOST_REQUIREMENTS = 1024 * 1024
"""Limit of a `requirements.txt`, in bytes."""
MOST_PROJECT = 128 * 1024
"""Limit of a `pyproject.toml`, in bytes."""
MOST_DOTS = toml_text.MOST_DOTS
"""Limit of dots in a line of a `pyproject.toml`."""
# Those that pip searches, in its order: the mark of UTF-16 begins like that of UTF-32.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")  # PEP 263
# The quantifiers are possessive, so there is no backtracking: the time is linear in the length of a line.
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*+\s*+(?:\[[^\]]*+\]\s*+)?+(?:[(<>=!~][^@;/]*+|@\s*+https?://\S++\s*+)?+"
    r"(?:;.*+|(?:--hash[= ]\S++\s*+)*+)"
)
_OPTION = re.compile(
    r"(-i|--index-url|--extra-index-url|--no-index|--pre|--prefer-binary|--only-binary|--no-binary"
    r"|--require-hashes|--trusted-host)\b.*"
)


class MissingTool(ValueError):
    """The tool that the files of a source need is not installed; the message says what to do."""


class Installation(msgspec.Struct, frozen=True):
    """A command that installs a program into an environment, and what decides whether two of them are the same.

    `command` begins with the path of the tool, or with `python` for that of the environment. `text` are the bytes that
    the result depends on, beside the source when `needs_source`.
    """

    command: tuple[str, ...]
    text: bytes = b""
    needs_source: bool = True
    remark: str = ""


_PIP = ("python", "-m", "pip", "install", "--progress-bar", "off")
_LOCKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "uv.lock": ("uv", ("sync", "--locked", "--no-dev")),
    "poetry.lock": ("poetry", ("install", "--only", "main", "--no-interaction")),
}
_PIPENV = {"Pipfile.lock": ("install", "--deploy"), "Pipfile": ("install", "--skip-lock")}


def installation(root: Path, path: str) -> Installation | None:
    """Return the installation for the source at `root`, or None when it needs none; `path` is the PATH of the tools.

    Raises OSError, ValueError and RecursionError for files that cannot be read, and MissingTool.
    """
    if (root / REQUIREMENTS).is_file():
        data = _read(root / REQUIREMENTS, MOST_REQUIREMENTS)
        return Installation((*_PIP, "-r", REQUIREMENTS), data, not is_self_contained(decoded(data)))
    remark = ""
    for lock, (tool, arguments) in _LOCKS.items():
        if (root / lock).is_file() and (root / PROJECT).is_file():
            if (found := shutil.which(tool, path=path)) is not None:
                return Installation((found, *arguments))
            remark = (
                f"{lock} is not used, because {tool} is not on the PATH of the service: "
                f"pip installs the versions that {PROJECT} allows"
            )
            break
    for file, arguments in _PIPENV.items():
        if not remark and (root / file).is_file():
            if (found := shutil.which("pipenv", path=path)) is None:
                raise MissingTool(
                    f"{file} needs pipenv, which is not on the PATH of the service: install it there, "
                    f"or add {REQUIREMENTS} to the source (`pipenv requirements > {REQUIREMENTS}`)"
                )
            return Installation((found, *arguments))
    if (root / PROJECT).is_file() and toml_text.parse(_read(root / PROJECT, MOST_PROJECT)).keys() & {
        "project",
        "build-system",
    }:
        return Installation((*_PIP, "."), remark=remark)
    return None


def _read(path: Path, limit: int) -> bytes:
    """Return the content of a file; raises ValueError for more than `limit` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return data


def _named_encoding(data: bytes) -> str | None:
    """Return the encoding that a comment `coding` in the first two lines names, or None."""
    for line in data.split(b"\n")[:2]:
        if line.startswith(b"#") and (match := _CODING.search(line)):
            return match[1].decode()
    return None


def decoded(data: bytes) -> str:
    """Return the text of requirements, decoded as pip does it.

    A byte order mark counts first, then a comment `coding` in the first two lines, then UTF-8, then the locale's
    encoding. Raises ValueError.
    """
    for bom, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(bom):
            # "utf-16" and "utf-32" read the mark for the order of the bytes; for UTF-8 it must be removed.
            return data.removeprefix(codecs.BOM_UTF8).decode(encoding)
    if (named := _named_encoding(data)) is not None:
        try:
            return data.decode(named)
        except LookupError:
            raise ValueError(f"its first lines name an unknown encoding, {named!r}") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(locale.getpreferredencoding(False))


def is_self_contained(requirements: str) -> bool:
    """Return whether requirements name only projects and addresses, and no files or folders of the source."""
    for line in requirements.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text and _REQUIREMENT.fullmatch(text) is None and _OPTION.fullmatch(text) is None:
            return False
    return True
