"""The disks and network interfaces that count, and their rates."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from smartmob.hosts.sampler import devices
from smartmob.hosts.sampler.devices import Choice, Counters, DeviceTraffic
from smartmob.hosts.sampler.machine_files import Roots
from smartmob.hosts.sampler.probe import Unreadable
from tests.hosts.sampler.trees import disk, interface, machine

BRIDGE = {"bridge__": ""}


def _merged(*parts: dict[str, str]) -> dict[str, str]:
    return dict(itertools.chain.from_iterable(part.items() for part in parts))


class TestDefaultDisks:
    """Each byte counts once."""

    @pytest.mark.parametrize(
        ("disks", "there", "counted"),
        [
            pytest.param(
                _merged(
                    disk("nvme0n1"),
                    disk("dm-0", virtual=True, slaves=("nvme0n1p3",)),
                    disk("dm-1", virtual=True, slaves=("dm-0",)),
                    disk("loop0", virtual=True),
                    disk("zram0", virtual=True),
                ),
                ["dm-0", "dm-1", "loop0", "nvme0n1", "nvme0n1p1", "nvme0n1p3", "zram0"],
                ["nvme0n1"],
                id="NVMe below LUKS below LVM",
            ),
            pytest.param(
                _merged(disk("sda"), disk("sdb"), disk("md127", virtual=True, slaves=("sda1", "sdb1"))),
                ["md127", "sda", "sda1", "sdb", "sdb1"],
                ["sda", "sdb"],
                id="RAID 1 of two disks",
            ),
            pytest.param(
                _merged(disk("sda"), disk("bcache0", virtual=True, slaves=("sda",)), disk("zd0", virtual=True)),
                ["bcache0", "sda", "zd0", "zd0p1"],
                ["sda"],
                id="bcache and a volume of ZFS",
            ),
            pytest.param(
                _merged(disk("sda"), disk("sdb"), disk("dm-0", virtual=True, slaves=("sda", "sdb"))),
                ["dm-0", "sda", "sdb"],
                ["sda", "sdb"],
                id="two paths to one device",
            ),
            pytest.param(_merged(disk("mmcblk0"), disk("sr0")), ["mmcblk0", "mmcblk0p1", "sr0"], ["mmcblk0"], id="Pi"),
            pytest.param(_merged(disk("loop0", virtual=True)), ["loop0"], [], id="none"),
            pytest.param(
                {},
                ["dm-0", "loop0", "mmcblk0", "mmcblk0p1", "nvme0n1", "nvme0n1p2", "sda", "sda1", "xvda", "xvda1"],
                ["mmcblk0", "nvme0n1", "sda", "xvda"],
                id="a container without /sys",
            ),
        ],
    )
    def test_only_physical_disks_count(
        self, tmp_path: Path, disks: dict[str, str], there: list[str], counted: list[str]
    ) -> None:
        """Partitions, loop devices and what is stacked on disks are left out."""
        assert devices.default_disks(there, machine(tmp_path, disks)) == counted


class TestDefaultInterfaces:
    """Each byte that leaves or reaches the machine counts once."""

    @pytest.mark.parametrize(
        ("files", "counted"),
        [
            pytest.param(
                _merged(
                    interface("lo", flags="0x9"),
                    interface("eth0", device=True),
                    interface("docker0", **BRIDGE),
                    interface("veth12ab", master="docker0"),
                    interface("tun0", tun_flags="0x1001"),
                    interface("eth0.100", uevent="DEVTYPE=vlan"),
                    interface("wg0", uevent="DEVTYPE=wireguard"),
                ),
                ["eth0"],
                id="Docker, a VPN and a VLAN",
            ),
            pytest.param(
                _merged(
                    interface("bond0", bonding__mode="802.3ad 4"),
                    interface("eth0", device=True, master="bond0"),
                    interface("eth1", device=True, master="bond0"),
                    interface("bond0.5", uevent="DEVTYPE=vlan"),
                ),
                ["bond0"],
                id="a bond instead of its slaves",
            ),
            pytest.param(
                _merged(interface("br0", **BRIDGE), interface("eno1", device=True, master="br0")),
                ["eno1"],
                id="a port of a bridge",
            ),
            pytest.param(
                _merged(interface("vrf1", uevent="DEVTYPE=vrf"), interface("eno1", device=True, master="vrf1")),
                ["eno1"],
                id="a routing domain",
            ),
            pytest.param(
                _merged(interface("eth0", device=True), interface("enP1s1", device=True, master="eth0")),
                ["eth0"],
                id="a virtual function below a synthetic interface",
            ),
            pytest.param(
                _merged(interface("lo", flags="0x9"), interface("eth0"), interface("docker0", **BRIDGE)),
                ["eth0"],
                id="in a container",
            ),
            pytest.param(_merged(interface("lo", flags="0x9")), [], id="only loopback"),
            pytest.param(
                _merged(
                    interface("eno1", device=True),
                    interface("vif1.0", device=True) | {"sys/class/net/vif1.0/device/subsystem": "-> /x/xen-backend"},
                ),
                ["eno1"],
                id="the host of virtual machines",
            ),
        ],
    )
    def test_only_physical_interfaces_count(self, tmp_path: Path, files: dict[str, str], counted: list[str]) -> None:
        """Loopback, bridges, ends in containers, tunnels and VLANs are left out."""
        roots = machine(tmp_path, files)
        there = sorted(path.name for path in (roots.sysfs / "class" / "net").iterdir())
        assert devices.default_interfaces(there, roots) == counted

    def test_without_sys_names_decide(self, tmp_path: Path) -> None:
        """On other platforms, loopback and virtual interfaces are told by their names."""
        there = ["en0", "lo0", "Loopback Pseudo-Interface 1", "utun3", "Ethernet", "bridge100", "awdl0", "Wi-Fi"]
        assert devices.default_interfaces(there, machine(tmp_path, {})) == ["en0", "Ethernet", "Wi-Fi"]


class _Counted:
    """Counters that a test sets."""

    def __init__(self, **counters: tuple[int, int]) -> None:
        self.now: dict[str, tuple[int, int]] = dict(counters)

    def read(self) -> Counters:
        return dict(self.now)


class TestTraffic:
    """Rates of several devices together."""

    def _traffic(self, counted: _Counted, *names: str) -> DeviceTraffic:
        return DeviceTraffic(counted.read, lambda there, _: there, names, Roots())

    def test_counters_that_go_backwards_began_again_at_zero(self) -> None:
        """A device that was reset counts from zero, and never makes a negative or a huge rate."""
        counted = _Counted(a=(1000, 1000))
        traffic = self._traffic(counted)
        counted.now["a"] = (0, 2000)
        received, sent = traffic.rates()
        assert received == 0
        assert sent > 0

    def test_a_device_that_appears_counts_from_then_on(self) -> None:
        """Bytes that a device counted before it was seen are no traffic of this second, also when it comes back."""
        counted = _Counted(a=(0, 0))
        traffic = self._traffic(counted)
        counted.now["b"] = (10**15, 10**15)
        assert traffic.rates() == (0, 0)
        del counted.now["b"]
        assert traffic.rates() == (0, 0)
        counted.now["b"] = (10**16, 10**16)
        assert traffic.rates() == (0, 0)
        counted.now["b"] = (10**16 + 5, 10**16)
        received, sent = traffic.rates()
        assert (received > 0, sent) == (True, 0)

    def test_a_chosen_device_that_is_gone_is_named(self) -> None:
        """The rate of the others would be too low without a word; a pattern needs one device."""
        counted = _Counted(eth0=(0, 0), eth1=(0, 0), lo=(0, 0))
        traffic = self._traffic(counted, "eth0", "eth1")
        traffic.rates()
        del counted.now["eth1"]
        with pytest.raises(Unreadable, match="there is no eth1"):
            traffic.rates()
        counted.now["eth1"] = (0, 0)
        assert traffic.rates() == (0, 0)
        pattern = self._traffic(counted, "eth*")
        counted.now["lo"] = (10**9, 0)
        del counted.now["eth1"]
        assert pattern.rates() == (0, 0)

    def test_counters_that_cannot_be_read_at_first_are_read_later(self) -> None:
        """An error at the start is not the end."""
        counted = _Counted(a=(0, 0))
        fails = [OSError(13, "Permission denied")]

        def read() -> Counters:
            if fails:
                raise fails.pop()
            return counted.read()

        traffic = DeviceTraffic(read, lambda there, _: there, (), Roots())
        assert traffic.rates() == (0, 0)


class TestChoice:
    """The choice of a user."""

    def test_a_name_with_a_slash_is_a_folder_and_others_are_disks(self) -> None:
        """A path of a device is that device."""
        found = devices.choice(["/data", "sd*", "nvme0n1", ".", "/dev/no-such-disk"], ["eth*"])
        assert found == Choice(("sd*", "nvme0n1", "no-such-disk"), ("eth*",), ("/data", "."))

    def test_a_wrong_name_gets_a_line_with_those_that_exist(self, tmp_path: Path) -> None:
        """The line names what exists, also what is not counted by default; a folder must exist."""
        loopback = next(name for name in devices.network_counters() if name.startswith("lo"))
        option, name, line = devices.wrong_choice(Choice(interfaces=("eth99",)), Roots()) or ("", "", "")
        assert (option, name) == ("net", "eth99")
        assert line.startswith("there is no such network interface; there are ")
        assert loopback in line
        option, name, line = devices.wrong_choice(Choice(disks=("sdzz9",)), Roots()) or ("", "", "")
        assert (option, name) == ("disk", "sdzz9")
        assert "there is no such disk" in line
        gone = str(tmp_path / "gone")
        assert devices.wrong_choice(Choice(folders=(str(tmp_path), gone)), Roots()) == (
            *("disk", gone),
            "there is no such folder; name one on the file system to be measured, or a disk",
        )
        assert devices.wrong_choice(Choice(interfaces=(loopback, "lo*"), folders=(os.sep,)), Roots()) is None
