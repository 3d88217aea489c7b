"""Every setting of the engine reaches the part that it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude.config.settings import (
    CacheSettings,
    MemorySettings,
    ModelSettings,
    PerformanceSettings,
    Settings,
    ToolSettings,
)
from anyclaude.engine.memory_policy import GIB, ResetRules
from anyclaude.engine.options import EngineOptions
from anyclaude.options import engine_options, pipeline_options
from anyclaude.tools.desk import ToolOptions
from anyclaude.types import Sampling

MACHINE = 64 * GIB


def options(**sections: object) -> EngineOptions:
    return engine_options(settings(**sections), MACHINE)


def settings(**sections: object) -> Settings:
    plain = Settings(Path("data"), Path("log.duckdb"))
    return replace(plain, **sections)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cache", "limit", "value"),
    [
        (CacheSettings(), "cache_bytes", 16 * GIB),
        (CacheSettings(memory_gb=1.5), "cache_bytes", int(1.5 * GIB)),
        (CacheSettings(l1=False), "cache_enabled", False),
        (CacheSettings(kv_bits=4), "kv_bits", 4),
        (CacheSettings(pin_main=False), "pin_main", False),
        (CacheSettings(warm_up=False), "warm_up", False),
    ],
)
def test_what_the_cache_is_told(cache: CacheSettings, limit: str, value: object) -> None:
    assert getattr(options(cache=cache).limits, limit) == value


def test_what_the_scheduler_is_told() -> None:
    performance = PerformanceSettings(
        prefill_chunk=96, stream_chunk_size=3, max_running=5, max_waiting=7
    )
    made = options(performance=performance)
    limits = made.limits
    assert (limits.prefill_chunk, limits.stream_chunk, limits.max_running) == (96, 3, 5)
    assert (made.max_waiting, made.capacity) == (7, 12)


def test_what_the_model_is_told() -> None:
    model = ModelSettings(
        context_limit=9000, max_output_tokens=800, temperature=0.3, top_p=0.8, top_k=11
    )
    made = options(model=model)
    assert (made.context_limit, made.max_output_tokens) == (9000, 800)
    assert made.sampling == Sampling(0.3, 0.8, 11)


def test_what_the_memory_guard_is_told() -> None:
    memory = MemorySettings(limit_gb=20, buffer_cache_gb=0.5, wired_gb=3)
    made = options(
        memory=memory, cache=CacheSettings(reset_after_requests=9, reset_over_tokens=1000)
    )
    assert made.memory is not None
    assert made.memory.settings == memory
    assert made.memory.resets == ResetRules(9, 1000)


def test_what_calls_are_told() -> None:
    tools = ToolSettings(constrain=False, stream=False, regenerate=False, on_invalid="text")
    assert options(tools=tools).constrain is False
    assert options().constrain is True
    made = pipeline_options(settings(tools=tools), None)
    assert made.tools == ToolOptions(False, False, "text")
