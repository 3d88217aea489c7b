"""What the kernel says of our memory, parsed from fakes of both systems and asked for real."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import psutil
import pytest

from anyclaude.engine import footprint
from anyclaude.engine.footprint import Darwin, Linux, Rusage, cgroups

STATUS = "Name:\tpython\nVmPeak:\t  900 kB\nVmRSS:\t  2048 kB\nVmSwap:\t  1024 kB\n"
KB = 1024


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "mounts").mkdir()
    return tmp_path


def linux(system: Path) -> Linux:
    return Linux(system / "status", system / "cgroup", system / "mounts")


def write_group(folder: Path, names: tuple[str, str], limit: str, used: int, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_linux_counts_swapped_pages_as_ours(system: Path) -> None:
    reading = linux(system)()
    assert reading.footprint == 3072 * KB
    assert reading.total == psutil.virtual_memory().total
    assert not reading.critical


def test_a_cgroup_is_the_machine(system: Path) -> None:
    stat = "anon 100\ninactive_file 300\nactive_file 5\n"
    write_group(system / "mounts", V2, "1000000", 600_000, stat)
    reading = linux(system)()
    assert (reading.total, reading.available) == (1_000_000, 400_300)


def test_the_tightest_of_the_nested_groups_counts(system: Path) -> None:
    (system / "cgroup").write_text("0::/user/ours\n")
    write_group(system / "mounts" / "user" / "ours", V2, "max", 1, "")
    write_group(system / "mounts" / "user", V2, "500000", 450_000, "inactive_file 0\n")
    reading = linux(system)()
    assert (reading.total, reading.available) == (500_000, 50_000)


def test_version_1_groups_by_controller(system: Path) -> None:
    (system / "cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/a\n0::/b\n")
    stat = "inactive_file 1\ntotal_inactive_file 2000\n"
    write_group(system / "mounts" / "memory" / "a", V1, "90000", 50_000, stat)
    reading = linux(system)()
    assert (reading.total, reading.available) == (90_000, 42_000)


def test_in_a_container_the_path_may_be_the_hosts(system: Path) -> None:
    own = "4:memory:/docker/0123\n"
    write_group(system / "mounts" / "memory", V1, "70000", 10_000, "total_inactive_file 0\n")
    [group] = cgroups(own, system / "mounts")
    assert group.room(100_000) == (70_000, 60_000)


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "nonsense"])
def test_a_group_without_a_limit_says_nothing(system: Path, limit: str) -> None:
    write_group(system / "mounts", V2, limit, 5, "")
    assert linux(system)().total == psutil.virtual_memory().total


def test_a_group_whose_files_vanish_says_nothing(system: Path) -> None:
    write_group(system / "mounts", V2, "1000", 5, "")
    probe = linux(system)
    (system / "mounts" / "memory.current").unlink()
    assert probe().total == psutil.virtual_memory().total


class FakeSystem:
    """libSystem of a Mac; the memory layout is written by hand, not by our structure."""

    def __init__(self, footprint: int, pressure: int, failing: bool = False) -> None:
        self.footprint = footprint
        self.pressure = pressure
        self.failing = failing

    def proc_pid_rusage(self, pid: int, flavor: int, buffer: object, /) -> int:
        if self.failing:
            return -1
        assert (pid, flavor) == (77, 0)
        address = ctypes.addressof(buffer._obj)  # type: ignore[attr-defined]
        ctypes.c_uint64.from_address(address + 16 + 7 * 8).value = self.footprint
        return 0

    def sysctlbyname(
        self, name: bytes, value: object, size: object, new: None, length: int, /
    ) -> int:
        if self.failing:
            return -1
        assert name == b"kern.memorystatus_vm_pressure_level"
        assert size._obj.value == 4  # type: ignore[attr-defined]
        value._obj.value = self.pressure  # type: ignore[attr-defined]
        return 0


def test_macos_asks_for_the_physical_footprint() -> None:
    assert ctypes.sizeof(Rusage) == 16 + 10 * 8
    reading = Darwin(FakeSystem(12_345_678_901, 2), 77)()
    assert (reading.footprint, reading.critical) == (12_345_678_901, False)
    assert Darwin(FakeSystem(1, 4), 77)().critical


def test_macos_falls_back_to_resident_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, pid: int) -> None:
            assert pid == 77

        def memory_info(self) -> object:
            return type("Info", (), {"rss": 4242})

    monkeypatch.setattr("psutil.Process", Process)
    reading = Darwin(FakeSystem(1, 4, failing=True), 77)()
    assert (reading.footprint, reading.critical) == (4242, False)


def test_this_process_is_measured() -> None:
    probe = footprint.probe()
    before = probe().footprint
    block = mmap.mmap(-1, 64 << 20)  # Not of the memory that the C library may hold free.
    block.write(bytes(64 << 20))
    grown = probe().footprint - before
    assert 60 << 20 < grown < 80 << 20
    assert len(block) == 64 << 20
    other = footprint.resident().footprint
    assert abs(other - probe().footprint) < 32 << 20
