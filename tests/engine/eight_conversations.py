"""Eight conversations over one long prefix, in a process of their own; says what they hold.

A script, for a process that has done nothing else. The model is empty: it writes KV in the layout
of SmolLM2 (30 layers, 3 heads of 64, float32) and always says the same word, so that what grows
is the engine's cache and little else. The one argument is the embedded model's folder.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from anyclaude.engine.blas import load_blas

load_blas()

import mlx.core as mx  # noqa: E402
import mlx.nn as nn  # noqa: E402
from mlx_lm.models.cache import KVCache  # noqa: E402

from anyclaude.engine import ragged  # noqa: E402
from anyclaude.engine.engine import Engine, EngineOptions  # noqa: E402
from anyclaude.engine.footprint import probe  # noqa: E402
from anyclaude.engine.load import LoadedModel  # noqa: E402
from anyclaude.engine.serving import Limits  # noqa: E402
from anyclaude.events import Bus  # noqa: E402
from anyclaude.types import Sampling  # noqa: E402
from tests.doubles.token_model import embedded_base  # noqa: E402
from tests.engine.conftest import ask, collect, phase  # noqa: E402

LAYERS, HEADS, SIZE = 30, 3, 64
TOKEN_BYTES = LAYERS * HEADS * SIZE * 4 * 2
PREFIX_WORDS = 4000
TAIL_WORDS = 60
ANSWER = 40
WORD = 504
LIMITS = Limits(
    prefill_chunk=512, stream_chunk=8, max_running=2, cache_bytes=1 << 32, cache_enabled=True
)


class Filler(nn.Module):  # type: ignore[misc]
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def make_cache(self) -> list[KVCache]:
        return [KVCache() for _ in range(LAYERS)]

    def __call__(self, inputs: mx.array, cache: list[KVCache]) -> mx.array:
        rows, count = inputs.shape
        shape = (rows, HEADS, count, SIZE)
        kv = mx.broadcast_to(inputs.astype(mx.float32)[:, None, :, None], shape)
        for layer in cache:
            layer.update_and_fetch(kv, kv)
        scores = (mx.arange(self._vocabulary) == WORD).astype(mx.float32)
        return mx.broadcast_to(scores, (rows, count, self._vocabulary))


class Loader:
    def __init__(self, embedded: Path) -> None:
        self._embedded = embedded

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        base = embedded_base(self._embedded)
        model = Filler(len(base.tokenizer))
        fits = ragged.fits(model, len(base.tokenizer))
        return replace(base, name=name, model=model, defaults=Sampling(), rows_share_passes=fits)


def footprint() -> int:
    """Bytes that this process takes once what is free has been given back."""
    gc.collect()
    mx.clear_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return probe()().footprint


async def run(embedded: Path) -> dict[str, int]:
    bus = Bus()
    events = bus.subscribe()
    engine = Engine(Loader(embedded), EngineOptions(LIMITS, 8, 0, Sampling()), bus)
    engine.start()
    engine.load("filler")
    await asyncio.wait_for(phase(events, "ready"), 60)

    async def talk(number: int, words: int = PREFIX_WORDS) -> tuple[int, int]:
        """Tokens that were there already, and tokens there are now."""
        request = ask("word " * words, "Yes.", f"{number} " * TAIL_WORDS, id=f"req_{number}")
        limited = replace(request.request, max_tokens=ANSWER)
        answer = await collect(await engine.open(replace(request, request=limited)))
        # The last token was never fed.
        return answer.read, answer.finish.usage.prompt_tokens + ANSWER - 1

    await asyncio.gather(talk(98, 10), talk(99, 20))  # Whatever the first requests leave.
    await engine.flush()
    before = footprint()
    first = await talk(10)
    others = await asyncio.gather(*(talk(number) for number in range(11, 18)))
    counted, after = engine.caches.tiers()[0].bytes, footprint()
    await engine.flush()
    emptied = footprint()
    await engine.stop()
    prefix = min(read for read, _ in others)
    return {
        "prefix_tokens": prefix,
        "tail_tokens": sum(length - prefix for _, length in (first, *others)),
        "counted": counted,
        "grown": after - before,
        "left": emptied - before,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(run(Path(sys.argv[1])))))
