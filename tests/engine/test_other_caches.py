"""Models whose caches can't be cut: tiny random weights of mlx-lm's own classes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx_lm.models import gemma3_text, llama, mamba

from anyclaude.engine.engine import Engine
from anyclaude.engine.load import LoadedModel, load_model
from anyclaude.events import Bus
from anyclaude.types import EchoTurn, Sampling
from tests.doubles.token_model import FALLBACK
from tests.engine.conftest import OPTIONS, Answer, ask, collect, phase


def plain(vocab: int) -> nn.Module:
    return llama.Model(
        llama.ModelArgs(
            model_type="llama",
            hidden_size=32,
            num_hidden_layers=2,
            intermediate_size=64,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            vocab_size=vocab,
        )
    )


def rotating(vocab: int) -> nn.Module:
    return gemma3_text.Model(
        gemma3_text.ModelArgs(
            model_type="gemma3_text",
            hidden_size=32,
            num_hidden_layers=4,
            intermediate_size=64,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            vocab_size=vocab,
            sliding_window=32,
            sliding_window_pattern=2,
        )
    )


def recurrent(vocab: int) -> nn.Module:
    return mamba.Model(
        mamba.ModelArgs(
            model_type="mamba",
            vocab_size=vocab,
            hidden_size=32,
            intermediate_size=64,
            state_size=8,
            num_hidden_layers=2,
            conv_kernel=4,
            use_bias=False,
            use_conv_bias=True,
            time_step_rank=4,
        )
    )


class TinyLoader:
    """The embedded model's tokenizer and template over random weights, the same each time."""

    def __init__(self, embedded: Path, make: Callable[[int], nn.Module]) -> None:
        self._embedded = embedded
        self._make = make

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        base = load_model(self._embedded, name, progress, FALLBACK)
        mx.random.seed(3)
        model = self._make(len(base.tokenizer))
        mx.eval(model.parameters())
        return replace(base, name=name, model=model, defaults=Sampling())


@pytest.mark.parametrize("make", [plain, rotating, recurrent])
async def test_a_growing_conversation_answers_as_if_it_were_cold(
    embedded_model_dir: Path, make: Callable[[int], nn.Module]
) -> None:
    bus = Bus()
    events = bus.subscribe()
    engine = Engine(TinyLoader(embedded_model_dir, make), OPTIONS, bus)
    engine.start()
    try:
        engine.load(make.__name__)
        await asyncio.wait_for(phase(events, "ready"), 60)

        async def answer(id: str, *turns: str, echoes: tuple[EchoTurn, ...] = ()) -> Answer:
            return await collect(
                await engine.open(ask(*turns, id=id, echoes=echoes, max_tokens=12))
            )

        question = "Tell me of " + "ships and harbours and " * 20
        first = await answer("req_1", question)
        echo = EchoTurn(1, first.finish.tokens)
        turns = (question, "an answer", "And then?")
        warm = await answer("req_2", *turns, echoes=(echo,))
        assert warm.read >= first.finish.usage.prompt_tokens
        await engine.flush()
        cold = await answer("req_3", *turns, echoes=(echo,))
        assert cold.read == 0
        assert warm.finish.tokens == cold.finish.tokens
    finally:
        await engine.stop()
