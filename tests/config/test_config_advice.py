"""Recommendations are sums that can be checked, and never exceed the memory."""

from __future__ import annotations

import pytest

from anyclaude.config import advice
from anyclaude.config.advice import CANDIDATES, GIB, LEAST_WINDOW, Machine


def mac(gigabytes: int) -> Machine:
    return Machine("Apple M4", gigabytes * GIB, metal=True)


def test_sizes_follow_from_the_shape() -> None:
    [model] = [c for c in CANDIDATES if c.name.endswith("Coder-30B-A3B-Instruct-4bit")]
    assert model.weight_bytes == 17_156_250_000
    assert model.kv_bytes_per_token == 98_304


@pytest.mark.parametrize("gigabytes", advice.MEMORY_SIZES_GB)
def test_what_is_recommended_fits(gigabytes: int) -> None:
    machine = mac(gigabytes)
    found = advice.recommend(machine)
    assert found
    for one in found:
        needed = one.candidate.weight_bytes + one.window * one.candidate.kv_bytes_per_token
        assert needed <= machine.budget_bytes
        assert LEAST_WINDOW <= one.window <= one.candidate.window


@pytest.mark.parametrize(
    ("gigabytes", "name"),
    [
        (16, "mlx-community/Qwen3-4B-Instruct-2507-4bit"),
        (32, "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit"),
        (64, "mlx-community/Qwen3-Coder-30B-A3B-Instruct-8bit"),
    ],
)
def test_the_most_capable_with_a_good_window_comes_first(gigabytes: int, name: str) -> None:
    assert advice.recommend(mac(gigabytes))[0].candidate.name == name


def test_nothing_without_metal_or_memory() -> None:
    assert advice.recommend(Machine("Xeon", 512 * GIB, metal=False)) == ()
    assert advice.recommend(mac(4)) == ()


def test_this_machine_is_known() -> None:
    here = advice.this_machine()
    assert here.chip and here.memory_bytes > GIB
