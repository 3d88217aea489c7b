"""A fast BLAS for MLX's CPU build, put in place before MLX is imported.

MLX's Linux wheel bundles the reference BLAS: on two cores a 1024x1024 float32 product runs at
5.9 GFLOP/s with it and at 180 GFLOP/s with OpenBLAS. Symbols in the process's global scope win
over the bundled library, so loading OpenBLAS there first is all it takes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path

SPIN = "8"
"""Where the processor isn't Intel's, OpenBLAS's threads wait 2^8 cycles for more work instead of
2^26, some 20 ms: a decode step has many products and as many small operations between them, during
which a waiting thread would take a core from the thread that builds the next step's graph. So it is
on two cores of an EPYC. On two of an Emerald Rapids the long wait gave 15.4 tok/s where this gave
14.1, with four streams 41 and 38, and prompts were read as fast. Whoever sets the variable is
followed."""

CPU_INFO = Path("/proc/cpuinfo")
_KERNELS = (("avx512dq", "SkylakeX"), ("avx2", "Haswell"))
"""OpenBLAS's kernels for Intel's processors, by what they can do, the best first."""

_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_PATTERNS = (
    "*-linux-gnu/openblas-pthread/libopenblas.so.0",
    "*-linux-gnu/openblas-openmp/libopenblas.so.0",
    "*-linux-gnu/libopenblas.so.0",
    "libopenblas.so.0",
    "libopenblasp.so.0",
)


def load_blas() -> str | None:
    """Loads OpenBLAS into the global scope and returns its path or name.

    ``None`` when there is nothing to do (not Linux), nothing to load, or when MLX is already
    imported and so bound to its own library. Never raises.
    """
    if not sys.platform.startswith("linux") or "mlx.core" in sys.modules:
        return None
    # Both are read as the library is loaded.
    cpu = _cpu_info()
    if not _intel(cpu):
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", SPIN)
    elif kernels := kernels_for(cpu):
        os.environ.setdefault("OPENBLAS_CORETYPE", kernels)
    for candidate in _candidates():
        try:
            ctypes.CDLL(candidate, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return candidate
    return None


def kernels_for(cpu_info: str) -> str | None:
    """The kernels to ask for on an Intel processor, ``None`` to leave the choice to OpenBLAS.

    OpenBLAS knows Intel's models by number, and takes one that is newer than itself for a Pentium
    4: Debian 12's 0.3.21 ran a product at 63 GFLOP/s on an Emerald Rapids of two cores, and at
    320 with these. ``cpu_info`` is the text of Linux's /proc/cpuinfo.
    """
    if not _intel(cpu_info):
        return None
    flags = _said(cpu_info).get("flags", "").split()
    return next((kernels for flag, kernels in _KERNELS if flag in flags), None)


def _intel(cpu_info: str) -> bool:
    return _said(cpu_info).get("vendor_id", "").strip() == "GenuineIntel"


def _said(cpu_info: str) -> dict[str, str]:
    """What is said of the first processor."""
    said: dict[str, str] = {}
    for line in cpu_info.splitlines():
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value)
    return said


def _cpu_info() -> str:
    try:
        return CPU_INFO.read_text("utf-8", "replace")
    except OSError:
        return ""


def _candidates() -> list[str]:
    """Installed OpenBLAS libraries: full paths first, then what the loader knows by name."""
    found: list[str] = []
    for folder in _FOLDERS:
        for pattern in _PATTERNS:
            try:
                found += sorted(str(path) for path in Path(folder).glob(pattern))
            except OSError:
                continue
    try:
        named = ctypes.util.find_library("openblas")
    except OSError:
        named = None
    return [*found, named] if named else found
