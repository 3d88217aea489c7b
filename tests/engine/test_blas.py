"""OpenBLAS comes before MLX or not at all."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anyclaude.engine import blas


def test_too_late_once_mlx_is_imported() -> None:
    import mlx.core

    assert mlx.core.__name__ in sys.modules
    assert blas.load_blas() is None


def test_only_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    assert blas.load_blas() is None


def test_libraries_that_do_not_load_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def load(name: str, mode: int) -> None:
        tried.append(name)
        if name == "broken":
            raise OSError("no")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    monkeypatch.setattr(blas, "_candidates", lambda: ["broken", "good", "unused"])
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert blas.load_blas() == "good"
    assert tried == ["broken", "good"]
    monkeypatch.setattr(blas, "_candidates", lambda: ["broken"])
    assert blas.load_blas() is None


@pytest.mark.skipif(
    sys.platform != "linux" or not blas._candidates(), reason="no OpenBLAS is installed here"
)
def test_a_fresh_process_gets_it_in_the_global_scope() -> None:
    code = (
        "import ctypes; from anyclaude.engine.blas import load_blas; "
        "assert load_blas(); assert ctypes.CDLL(None).openblas_get_config"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def cpu(vendor: str, flags: str) -> str:
    return f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("info", "kernels"),
    [
        (cpu("GenuineIntel", "avx avx2 avx512f avx512dq"), "SkylakeX"),
        (cpu("GenuineIntel", "avx avx2"), "Haswell"),
        (cpu("GenuineIntel", "avx"), None),
        (cpu("AuthenticAMD", "avx avx2 avx512f avx512dq"), None),
        ("", None),
    ],
)
def test_kernels_are_asked_for_by_what_an_intel_processor_can_do(
    info: str, kernels: str | None
) -> None:
    assert blas.kernels_for(info) == kernels


def test_whoever_chose_kernels_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpu("GenuineIntel", "avx2"))
    monkeypatch.setattr(blas, "CPU_INFO", file)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    monkeypatch.setattr(blas, "_candidates", list)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "")  # So that it is as before at the end.
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    blas.load_blas()
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    blas.load_blas()
    assert os.environ["OPENBLAS_CORETYPE"] == "Zen"


@pytest.mark.parametrize(("vendor", "wait"), [("GenuineIntel", None), ("AuthenticAMD", blas.SPIN)])
def test_threads_wait_shortly_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, wait: str | None
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpu(vendor, "avx2"))
    monkeypatch.setattr(blas, "CPU_INFO", file)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    monkeypatch.setattr(blas, "_candidates", list)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_THREAD_TIMEOUT"):
        monkeypatch.setenv(name, "")  # So that it is as before at the end.
        monkeypatch.delenv(name)
    blas.load_blas()
    assert os.environ.get("OPENBLAS_THREAD_TIMEOUT") == wait
