"""What this process really takes, and what the machine has left.

MLX's own counters under-report what macOS charges a process with, so the guard asks the kernel:
``phys_footprint`` on macOS, resident and swapped pages on Linux. A cgroup's limit counts as the
machine's memory. One reading costs well under a millisecond; any thread may take one.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import psutil

CGROUPS = Path("/sys/fs/cgroup")
STATUS = Path("/proc/self/status")
OWN_CGROUPS = Path("/proc/self/cgroup")

_LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
_PRESSURE_NAME = b"kern.memorystatus_vm_pressure_level"
_PRESSURE_CRITICAL = 4  # 1 normal, 2 warning, 4 critical


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes: what the process takes, what the machine (or the cgroup) has, what is left of it.

    ``critical`` is the kernel's own alarm, on macOS.
    """

    footprint: int
    total: int
    available: int
    critical: bool = False


Probe: TypeAlias = Callable[[], Reading]


def probe() -> Probe:
    """The probe for this machine."""
    if sys.platform == "darwin":
        darwin = Darwin.open()
        if darwin is not None:
            return darwin
    return Linux() if STATUS.is_file() else resident


def resident() -> Reading:
    """The reading of any system: resident memory as psutil has it."""
    memory = psutil.virtual_memory()
    return Reading(psutil.Process().memory_info().rss, memory.total, memory.available)


# ------------------------------------------------------------------------------------- macOS


class Rusage(ctypes.Structure):
    """``struct rusage_info_v0`` of macOS's ``<sys/resource.h>``."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        ("user_time", ctypes.c_uint64),
        ("system_time", ctypes.c_uint64),
        ("pkg_idle_wkups", ctypes.c_uint64),
        ("interrupt_wkups", ctypes.c_uint64),
        ("pageins", ctypes.c_uint64),
        ("wired_size", ctypes.c_uint64),
        ("resident_size", ctypes.c_uint64),
        ("phys_footprint", ctypes.c_uint64),
        ("proc_start_abstime", ctypes.c_uint64),
        ("proc_exit_abstime", ctypes.c_uint64),
    )


class LibSystem(Protocol):
    """The two calls of macOS's libSystem that are used here; 0 means success."""

    def proc_pid_rusage(self, pid: int, flavor: int, buffer: object, /) -> int: ...
    def sysctlbyname(
        self, name: bytes, value: object, size: object, new: None, length: int, /
    ) -> int: ...


class Darwin:
    """``phys_footprint``: what Activity Monitor shows and the kernel kills by."""

    def __init__(self, lib: LibSystem, pid: int) -> None:
        self._lib = lib
        self._pid = pid

    @classmethod
    def open(cls) -> Darwin | None:
        """The probe, or ``None`` where the kernel doesn't answer it."""
        try:
            lib: LibSystem = ctypes.CDLL(_LIBSYSTEM)
            found = cls(lib, os.getpid())
            return found if found.footprint() else None
        except (OSError, AttributeError):
            return None

    def __call__(self) -> Reading:
        memory = psutil.virtual_memory()
        footprint = self.footprint() or psutil.Process(self._pid).memory_info().rss
        return Reading(footprint, memory.total, memory.available, self.critical())

    def footprint(self) -> int:
        """Bytes, or 0 when the call fails."""
        usage = Rusage()
        failed = self._lib.proc_pid_rusage(self._pid, 0, ctypes.byref(usage))
        return 0 if failed else int(usage.phys_footprint)

    def critical(self) -> bool:
        level = ctypes.c_int(0)
        size = ctypes.c_size_t(ctypes.sizeof(level))
        failed = self._lib.sysctlbyname(
            _PRESSURE_NAME, ctypes.byref(level), ctypes.byref(size), None, 0
        )
        return not failed and level.value >= _PRESSURE_CRITICAL


# ------------------------------------------------------------------------------------- Linux


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The files of one memory cgroup; ``reclaimable`` names the page cache in its statistics."""

    limit: Path
    usage: Path
    stat: Path
    reclaimable: str

    def room(self, total: int) -> tuple[int, int] | None:
        """(limit, bytes of it left), page cache that can go not counted.

        ``None`` where the limit isn't below ``total``, the machine's memory.
        """
        try:
            text = self.limit.read_text().strip()
            limit = total if text == "max" else int(text)
            if limit >= total:
                return None
            used = int(self.usage.read_text())
            cache = status_field(self.stat.read_text(), self.reclaimable)
        except (OSError, ValueError):
            return None
        return limit, max(0, limit - max(0, used - cache))


class Linux:
    """Resident plus swapped pages, within the cgroups that the process is in."""

    def __init__(
        self, status: Path = STATUS, own: Path = OWN_CGROUPS, mounts: Path = CGROUPS
    ) -> None:
        self._status = status
        try:
            self._cgroups = cgroups(own.read_text(), mounts)
        except OSError:
            self._cgroups = ()

    def __call__(self) -> Reading:
        memory = psutil.virtual_memory()
        total, available = int(memory.total), int(memory.available)
        for group in self._cgroups:
            room = group.room(int(memory.total))
            if room is not None:
                total, available = min(total, room[0]), min(available, room[1])
        status = self._status.read_text()
        # What was swapped out is still ours, and comes back.
        kilobytes = status_field(status, "VmRSS:") + status_field(status, "VmSwap:")
        return Reading(kilobytes * 1024, total, available)


def cgroups(own: str, mounts: Path) -> tuple[Cgroup, ...]:
    """The memory cgroups named in ``/proc/self/cgroup``, innermost first, both versions.

    In a container the path may be the host's and not exist; then the mount's root is ours.
    """
    found = []
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = mounts, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = mounts / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = root / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if (folder / names[0]).is_file():
                group = Cgroup(
                    folder / names[0], folder / names[1], folder / "memory.stat", names[2]
                )
                found.append(group)
            if folder == root:
                break
    return tuple(found)


def status_field(text: str, name: str) -> int:
    """The number after ``name`` at the beginning of a line; 0 where there is none."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return 0
