"""The temperatures of the machine. Each sensor is read separately, so one that fails does not affect the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from smartmob.hosts.sampler.machine_files import Roots, link_name, names_in, text_of

_LOWEST, _HIGHEST = -100.0, 300.0
"""Degrees Celsius. Chips without a sensor at an input show absolute zero or tens of thousands of degrees."""
_INPUT = re.compile(r"temp\d+_input")


class _Sensor(msgspec.Struct, frozen=True):
    """A sensor: its chip and label, the device that distinguishes it from others with the same names, and its file."""

    name: str
    device: str
    path: Path


def temperatures(roots: Roots) -> tuple[dict[str, float], dict[str, str]]:
    """Return the temperatures in degrees Celsius by sensor, and for each sensor that cannot be read the reason.

    A sensor is called after its chip and its label, such as `nvme Composite`; if several have the same name, the device
    is added, such as `nvme Composite (nvme1)`.
    """
    hwmon = roots.sysfs / "class" / "hwmon"
    zones = roots.sysfs / "class" / "thermal"
    if not hwmon.is_dir() and not zones.is_dir():
        return _from_psutil(), {}
    sensors = list(_hwmon(hwmon)) or list(_thermal(zones))
    found, failed = {}, {}
    for name, sensor in _unique(sensors):
        try:
            # In thousandths of a degree (hwmon sysfs interface).
            value = int(sensor.path.read_text(encoding="ascii", errors="replace")) / 1000
            if _LOWEST <= value <= _HIGHEST:
                found[name] = value
            else:
                failed[name] = f"its value is impossible: {value:g} degrees"
        except (OSError, ValueError) as error:
            failed[name] = (isinstance(error, OSError) and error.strerror) or "its value is not a number"
    return found, failed


def _hwmon(folder: Path) -> Iterator[_Sensor]:
    for chip in sorted(names_in(folder), key=_natural):
        # Old kernels have the files one folder lower.
        for device_folder in (folder / chip, folder / chip / "device"):
            inputs = [name for name in names_in(device_folder) if _INPUT.fullmatch(name)]
            title = text_of(folder / chip / "name") or text_of(device_folder / "name") or chip
            for name in sorted(inputs, key=_natural):
                number = int(name.removeprefix("temp").removesuffix("_input")) - 1
                label = text_of(device_folder / name.replace("_input", "_label")) or str(number)
                device = link_name(folder / chip / "device") or chip
                yield _Sensor(f"{title} {label}", device, device_folder / name)
            if inputs:
                break


def _thermal(folder: Path) -> Iterator[_Sensor]:
    for zone in sorted(names_in(folder), key=_natural):
        if zone.startswith("thermal_zone"):
            yield _Sensor(f"{text_of(folder / zone / 'type') or zone} 0", zone, folder / zone / "temp")


def _unique(sensors: list[_Sensor]) -> Iterator[tuple[str, _Sensor]]:
    names = Counter(sensor.name for sensor in sensors)
    taken: Counter[str] = Counter()
    for sensor in sensors:
        name = sensor.name if names[sensor.name] == 1 else f"{sensor.name} ({sensor.device})"
        taken[name] += 1
        yield (name if taken[name] == 1 else f"{name} #{taken[name]}"), sensor


def _natural(name: str) -> tuple[str, int]:
    """Return a key that sorts `temp10_input` after `temp9_input`."""
    digits = re.search(r"\d+", name)
    return (name, 0) if digits is None else (name[: digits.start()], int(digits[0]))


def _from_psutil() -> dict[str, float]:
    read: Any = getattr(psutil, "sensors_temperatures", None)
    found: dict[str, float] = {}
    for chip, sensors in (read() if read is not None else {}).items():
        for number, sensor in enumerate(sensors):
            name = f"{chip} {sensor.label or number}"
            found[name if name not in found else f"{name} #{number}"] = sensor.current
    return found
