"""The archive of a project, read in memory."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from smartmob.errors import InvalidInput, TooLarge
from smartmob.turrets.project_archive import find_config, script_digests

CONFIG = json.dumps({"run_time": 5, "turrets": []}).encode()


def package(*files: tuple[str, bytes], mode: str = "w:gz") -> bytes:
    """Return a tar of some files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("name", ["config.json", "./config.json", "project/config.json"])
def test_the_configuration_is_found(name: str, mode: str) -> None:
    """It may be in the package itself or in its only folder, however the package is compressed."""
    assert find_config(package(("a/b/config.json", b"no"), ("v_user.py", b"x"), (name, CONFIG), mode=mode)) == CONFIG


def test_a_link_is_no_configuration() -> None:
    """It could point anywhere."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        link = tarfile.TarInfo("config.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InvalidInput, match=r"no config\.json"):
        find_config(packed.getvalue())


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", package(("config.json", CONFIG))[:60], b"\x1f\x8b" + b"\0" * 50], ids=range(4)
)
def test_other_data_is_no_package(data: bytes) -> None:
    """The error says so."""
    with pytest.raises(InvalidInput, match=r"not a readable tar archive|no config\.json"):
        find_config(data)


def test_a_file_of_huge_size_is_not_unpacked() -> None:
    """The size in its header is enough to refuse it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        huge = tarfile.TarInfo("zeros")
        huge.size = 0
        archive.addfile(huge)
    data = bytearray(packed.getvalue())
    data[124:136] = b"%011o\0" % (600 * 1024 * 1024)
    header = data[:512]
    header[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(TooLarge):
        find_config(bytes(data))


def test_a_configuration_of_megabytes_is_refused() -> None:
    """No real project has one."""
    with pytest.raises(TooLarge, match=r"config\.json has more than"):
        find_config(package(("config.json", b" " * (1024 * 1024 + 1))))


@pytest.mark.parametrize("folder", ["", "./", "night/"])
def test_the_scripts_of_a_package_have_their_digests(folder: str) -> None:
    """At the top of the package or in its folder; a script that is missing has none."""
    packed = package((f"{folder}config.json", CONFIG), (f"{folder}scripts/v.py", b"a"), (f"{folder}w.py", b"b"))
    found = script_digests(packed, ["scripts/v.py", "w.py", "x.py", ""])
    assert found == {"scripts/v.py": hashlib.sha256(b"a").hexdigest(), "w.py": hashlib.sha256(b"b").hexdigest()}
