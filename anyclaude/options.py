"""What the settings come to for the parts that a runtime is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyclaude.config.advice import kv_budget
from anyclaude.config.settings import Settings
from anyclaude.exchange import ExchangeOptions, StreamSink
from anyclaude.keepalive import KeepAliveTimes
from anyclaude.pipeline import PipelineOptions
from anyclaude.prompt.optimise import user_rules
from anyclaude.prompt.tiers import PromptTier
from anyclaude.prompting import PromptOptions
from anyclaude.tools.desk import ToolOptions
from anyclaude.types import Sampling

if TYPE_CHECKING:
    from anyclaude.engine.options import EngineOptions


def engine_options(settings: Settings, memory: int) -> EngineOptions:
    """Those of the engine on a machine with ``memory`` bytes; imports MLX."""
    from anyclaude.engine.memory_policy import ResetRules
    from anyclaude.engine.options import EngineOptions
    from anyclaude.engine.serving import Limits
    from anyclaude.engine.worker import MemoryOptions

    performance, model, cache = settings.performance, settings.model, settings.cache
    return EngineOptions(
        limits=Limits(
            prefill_chunk=performance.prefill_chunk,
            stream_chunk=performance.stream_chunk_size,
            max_running=performance.max_running,
            cache_bytes=kv_budget(cache.memory_gb, memory),
            cache_enabled=cache.l1,
            kv_bits=cache.kv_bits,
            pin_main=cache.pin_main,
            warm_up=cache.warm_up,
        ),
        max_waiting=performance.max_waiting,
        context_limit=model.context_limit,
        sampling=Sampling(model.temperature, model.top_p, model.top_k),
        max_output_tokens=model.max_output_tokens,
        constrain=settings.tools.constrain,
        switched_off=settings.engine_off,
        memory=MemoryOptions(
            settings.memory, ResetRules(cache.reset_after_requests, cache.reset_over_tokens)
        ),
    )


def prompt_options(settings: Settings) -> PromptOptions:
    prompt = settings.prompt
    return PromptOptions(
        tier=None if prompt.tier == "auto" else PromptTier(prompt.tier),
        budget_tokens=prompt.budget_tokens,
        rules=user_rules(prompt.keep, prompt.drop, prompt.replace),
        defer=prompt.defer,
        overflow=prompt.overflow,
        overflow_keep=prompt.overflow_keep,
        keep_tool_results=prompt.keep_tool_results,
        summaries=prompt.summaries,
        summary_seconds=prompt.summary_seconds,
    )


def pipeline_options(settings: Settings, streams: StreamSink | None) -> PipelineOptions:
    performance, tools = settings.performance, settings.tools
    return PipelineOptions(
        frozenset(settings.prompt.disabled_rules),
        ExchangeOptions(
            echo=settings.cache.echo,
            bodies=settings.log.bodies,
            times=KeepAliveTimes(
                ping=performance.keepalive_interval, progress=performance.progress_interval
            ),
            streams=streams,
        ),
        ToolOptions(tools.stream, tools.regenerate, tools.on_invalid),
        tools.mcp_rounds,
    )
