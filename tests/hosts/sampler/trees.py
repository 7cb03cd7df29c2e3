"""Trees of files like those in which the kernel shows a machine."""

from __future__ import annotations

from pathlib import Path

from smartmob.hosts.sampler.machine_files import Roots


def write(root: Path, files: dict[str, str]) -> None:
    """Write files below a folder. A text `-> TARGET` makes a symbolic link, and a name that ends with `/` a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(text + "\n", encoding="utf-8")


def machine(root: Path, files: dict[str, str]) -> Roots:
    """Write files whose names begin with `proc/` or `sys/`, or are marks in the root folder; return the roots."""
    for folder in ("proc", "sys"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write(root, files)
    return Roots(root / "proc", root / "sys", root)


def disk(name: str, *, virtual: bool = False, slaves: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the files of a disk, of which `slaves` are those that it is stacked on."""
    place = "virtual" if virtual else "pci0000:00/nvme"
    links = {f"sys/devices/{place}/block/{name}/slaves/{slave}": f"-> ../../{slave}" for slave in slaves}
    return {
        f"sys/devices/{place}/block/{name}/slaves/": "",
        **links,
        f"sys/block/{name}": f"-> ../devices/{place}/block/{name}",
    }


def interface(name: str, *, device: bool = False, master: str = "", **files: str) -> dict[str, str]:
    """Return the files of a network interface. `files` are further ones, with `__` for a slash."""
    folder = f"sys/class/net/{name}"
    made = {f"{folder}/flags": "0x1003"}
    if device:
        made[f"{folder}/device/"] = ""
    if master:
        made[f"{folder}/master"] = f"-> ../{master}"
    return made | {f"{folder}/{key.replace('__', '/')}": text for key, text in files.items()}
