"""Recommendations are sums that can be checked, and never exceed the memory."""

from __future__ import annotations

import pytest

from anyclaude.config import advice
from anyclaude.config.advice import (
    CANDIDATES,
    GIB,
    GOOD_WINDOW,
    LEAST_SPEED,
    LEAST_WINDOW,
    STATES,
    Machine,
    fit,
    fitting_window,
)
from anyclaude.config.model_shape import ModelShape


def mac(gigabytes: int, chip: str = "Apple M4 Max") -> Machine:
    return Machine(chip, gigabytes * GIB, metal=True)


def test_sizes_follow_from_the_shape() -> None:
    [model] = [c for c in CANDIDATES if c.name.endswith("Coder-30B-A3B-Instruct-4bit")]
    assert model.weight_bytes == 17_156_250_000
    assert model.kv_bytes_per_token == 98_304
    assert model.shape.token_bytes(8) == 98_304 * 8.5 / 16
    assert model.shape.token_bytes(4) == 98_304 * 4.5 / 16
    assert model.read_bytes == 1_856_250_000


def test_states_cost_the_same_whatever_the_length() -> None:
    [hybrid] = [c for c in CANDIDATES if "35B-A3B" in c.name]
    layer = 32 * 128 * 128 * 4 + 3 * (2 * 16 * 128 + 32 * 128) * 4
    assert hybrid.state_bytes == 30 * layer
    assert hybrid.weight_bytes == 20_401_929_952
    assert hybrid.shape.kv_bytes(1000) == 1000 * 20_480 + 30 * layer


@pytest.mark.parametrize("gigabytes", advice.MEMORY_SIZES_GB)
def test_what_is_recommended_fits_twice_over(gigabytes: int) -> None:
    """A running row has a copy of what the prefix cache holds."""
    machine = mac(gigabytes)
    for one in advice.recommend(machine):
        shape = one.candidate.shape
        row = one.window * shape.token_bytes()
        stored = one.window * shape.token_bytes(one.kv_bits or 16)
        needed = one.candidate.weight_bytes + row + stored + STATES * shape.state_bytes
        assert needed <= machine.budget_bytes < machine.limit_bytes
        assert LEAST_WINDOW <= one.window <= one.candidate.window


@pytest.mark.parametrize("gigabytes", advice.MEMORY_SIZES_GB)
def test_the_cache_is_quantised_only_where_that_helps(gigabytes: int) -> None:
    machine = mac(gigabytes)
    for one in advice.recommend(machine):
        candidate = one.candidate
        whole = fitting_window(candidate.shape, candidate.weight_bytes, machine.budget_bytes)
        if one.kv_bits:
            assert whole < GOOD_WINDOW and one.window > whole


@pytest.mark.parametrize(
    ("gigabytes", "name"),
    [
        (16, "mlx-community/Qwen3.5-9B-4bit"),
        (32, "mlx-community/Qwen3.6-35B-A3B-4bit"),
        (64, "mlx-community/Qwen3-Coder-30B-A3B-Instruct-8bit"),
        (128, "mlx-community/GLM-4.5-Air-4bit"),
    ],
)
def test_the_largest_with_a_good_window_comes_first(gigabytes: int, name: str) -> None:
    first = advice.recommend(mac(gigabytes))[0]
    assert first.candidate.name == name
    assert first.window >= GOOD_WINDOW and first.kv_bits == 0


def test_a_slow_chip_puts_dense_models_last() -> None:
    slow, fast = (
        [a.candidate.name for a in advice.recommend(mac(32, chip))]
        for chip in ("Apple M4", "Apple M4 Max")
    )
    dense = "mlx-community/Qwen3-14B-4bit"
    assert slow.index(dense) == len(slow) - 1 and fast.index(dense) == 1
    [found] = [a for a in advice.recommend(mac(32, "Apple M4")) if a.candidate.name == dense]
    assert found.speed == 120 * 10**9 // found.candidate.read_bytes < LEAST_SPEED


@pytest.mark.parametrize(
    ("chip", "bandwidth"),
    [("Apple M1", 68), ("Apple M3 Ultra", 819), ("Apple M9 Max", 0), ("Apple M5 Ultra", 0)],
)
def test_only_chips_of_the_table_have_a_bandwidth(chip: str, bandwidth: int) -> None:
    assert mac(32, chip).bandwidth == bandwidth * 10**9


def test_an_unknown_chip_is_advised_by_its_memory() -> None:
    found = advice.recommend(mac(32, "Apple M9"))
    assert {one.speed for one in found} == {0}
    assert found[0].candidate == advice.recommend(mac(32))[0].candidate


def test_nothing_without_metal_or_memory() -> None:
    assert advice.recommend(Machine("Xeon", 512 * GIB, metal=False)) == ()
    assert advice.recommend(mac(4)) == ()


def test_this_machine_is_known() -> None:
    here = advice.this_machine()
    assert here.chip and here.memory_bytes > GIB


SHAPE = ModelShape(per_token=1 << 19)  # A MB a token in 16 bits.


def test_a_model_fits_with_its_window_and_its_cache() -> None:
    limit = 40 * GIB  # 36 of them are planned with.
    good = fit(SHAPE, 10 * GIB, 8192, 18 * GIB, limit)
    assert good.fits and good.window_bytes == 8 * GIB and good.cache_that_fits == 18 * GIB
    assert good.window == 13 * 1024
    assert not fit(SHAPE, 10 * GIB, 8192, 18 * GIB + 1, limit).fits
    assert fit(SHAPE, 10 * GIB, 8192, 0, limit, itemsize=4).window_bytes == 16 * GIB


def test_the_prefix_cache_may_take_a_quarter_unless_told() -> None:
    assert advice.kv_budget(0, 64 * GIB) == 16 * GIB
    assert advice.kv_budget(1.5, 64 * GIB) == 3 * GIB // 2
