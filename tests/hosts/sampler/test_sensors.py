"""Temperatures."""

from __future__ import annotations

from pathlib import Path

from smartmob.hosts.sampler.sensors import temperatures
from tests.hosts.sampler.trees import machine

HWMON = "sys/class/hwmon"


def test_sensors_of_one_name_are_told_apart_by_their_device(tmp_path: Path) -> None:
    """Two disks and two processors with the same labels are four sensors; a name that occurs once stays short."""
    files = {}
    for number, (chip, device) in enumerate(
        [("nvme", "nvme0"), ("nvme", "nvme1"), ("coretemp", "coretemp.0"), ("coretemp", "coretemp.1"), ("acpitz", "")]
    ):
        folder = f"{HWMON}/hwmon{number}"
        files |= {f"{folder}/name": chip, f"{folder}/temp1_input": f"{30 + number}500"}
        if device:
            files |= {f"{folder}/device": f"-> ../../{device}"}
        if chip == "nvme":
            files[f"{folder}/temp1_label"] = "Composite"
    files[f"{HWMON}/hwmon2/temp2_input"] = "50000"
    found, failed = temperatures(machine(tmp_path, files))
    assert failed == {}
    assert found == {
        "nvme Composite (nvme0)": 30.5,
        "nvme Composite (nvme1)": 31.5,
        "coretemp 0 (coretemp.0)": 32.5,
        "coretemp 0 (coretemp.1)": 33.5,
        "coretemp 1": 50.0,
        "acpitz 0": 34.5,
    }


def test_a_sensor_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """Sensors without a value, without a name, of a disabled device or that are folders are named with the reason."""
    roots = machine(
        tmp_path,
        {
            f"{HWMON}/hwmon0/name": "iwlwifi",
            f"{HWMON}/hwmon0/temp1_input": "",
            f"{HWMON}/hwmon1/temp1_input": "41000",
            f"{HWMON}/hwmon2/name": "nct",
            f"{HWMON}/hwmon2/temp1_input/": "",
            f"{HWMON}/hwmon2/temp2_input": "-> nowhere",
            f"{HWMON}/hwmon2/temp10_input": "12000",
            f"{HWMON}/hwmon2/temp11_input": "65261850",
            f"{HWMON}/hwmon2/temp12_input": "-273150",
            f"{HWMON}/hwmon3": "-> gone",
        },
    )
    found, failed = temperatures(roots)
    assert found == {"hwmon1 0": 41.0, "nct 9": 12.0}
    assert failed == {
        "iwlwifi 0": "its value is not a number",
        "nct 0": "Is a directory",
        "nct 1": "No such file or directory",
        "nct 10": "its value is impossible: 65261.8 degrees",
        "nct 11": "its value is impossible: -273.15 degrees",
    }


def test_old_kernels_and_small_boards_have_other_places(tmp_path: Path) -> None:
    """Files one folder lower are read, and thermal zones where there is no chip."""
    old = machine(
        tmp_path / "old", {f"{HWMON}/hwmon0/device/name": "k10", f"{HWMON}/hwmon0/device/temp1_input": "5000"}
    )
    assert temperatures(old) == ({"k10 0": 5.0}, {})
    zone = "sys/class/thermal/thermal_zone0"
    board = machine(tmp_path / "board", {f"{zone}/type": "cpu-thermal", f"{zone}/temp": "48312"})
    assert temperatures(board) == ({"cpu-thermal 0": 48.312}, {})
