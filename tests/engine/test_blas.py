"""OpenBLAS comes before MLX or not at all."""

from __future__ import annotations

import ctypes
import subprocess
import sys

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
