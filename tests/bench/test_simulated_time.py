"""Time that passes only while everybody waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from anyclaude.bench.simulated_time import run_simulated


def test_hours_are_over_at_once_and_in_order() -> None:
    order: list[tuple[float, str]] = []

    async def sleeper(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append((asyncio.get_running_loop().time(), name))

    async def work() -> None:
        assert asyncio.get_running_loop().time() == 0
        await asyncio.gather(sleeper(7200, "late"), sleeper(3600, "early"), sleeper(0, "first"))

    began = time.monotonic()
    run_simulated(work())
    assert [name for _, name in order] == ["first", "early", "late"]
    assert [round(at, 6) for at, _ in order] == [0, 3600, 7200]
    assert time.monotonic() - began < 3600


def test_waiting_for_nothing_is_an_error_not_a_hang() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everybody waits, and nothing will ever happen"):
        run_simulated(work())


def test_a_deadline_passes_in_simulated_time() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(500):
                await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    assert run_simulated(work()) == pytest.approx(500)
