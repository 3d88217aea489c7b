"""A model that writes what a script says, at a given pace, with a KV cache that is real.

For demonstrations, screenshots and trying a client out without waiting for a language model. Its
one layer keeps the token ids themselves as keys and answers from what the cache holds, so the
prefix cache, the scheduler and every figure about them are as true as with any other model; a
cache that is wrong by one token gives another answer at once. Tokenizer and chat template are
the embedded model's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import mlx.core as mx
import mlx.nn as nn
from mlx_lm import utils
from mlx_lm.models.base import create_attention_mask
from mlx_lm.models.cache import KVCache

from anyclaude.engine import model_config
from anyclaude.engine.load import LoadedModel
from anyclaude.engine.ragged import Rows
from anyclaude.engine.template import ChatTemplate, ToolFallback
from anyclaude.types import Sampling

Answers = Callable[[str], str]
"""From the whole prompt as text to the answer as text."""

TAIL = "<|im_start|>assistant\n"
"""What the template ends a prompt with, and begins every answer with."""

WINDOW = 200_000
SURE = 100.0  # The score of the token that is meant; all others have none.


class Watch(Protocol):
    """Is told of every pass on the MLX thread, and may take its time."""

    def before(self) -> None: ...
    def read(self, tokens: int) -> None: ...
    def wrote(self, rows: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens a second: prompts are read and answers written no faster; 0 as fast as can be."""

    prefill: float = 0.0
    decode: float = 0.0

    def before(self) -> None:
        """Nothing keeps a pass from beginning."""

    def read(self, tokens: int) -> None:
        if self.prefill:
            time.sleep(tokens / self.prefill)

    def wrote(self, rows: int) -> None:
        if self.decode:
            time.sleep(1 / self.decode)


@dataclass(frozen=True)
class Shape:
    """What the memory guard wants to know of a model's size, under mlx-lm's own names."""

    hidden_size: int
    head_dim: int
    num_hidden_layers: int = 1
    num_attention_heads: int = 1


class ScriptedModel(nn.Module):  # type: ignore[misc]
    """Keys are token ids, ``width`` times each; the next token is what the script says of them."""

    def __init__(
        self, tokenizer: Any, vocab: int, eos: int, answers: Answers, watch: Watch, width: int = 1
    ) -> None:
        super().__init__()
        self.args = Shape(width, width)
        self.scale = mx.full((1,), SURE)
        self._width = width
        self._tokenizer = tokenizer
        self._vocab = vocab
        self._eos = eos
        self._script = answers
        self._watch = watch
        self._tail: list[int] = tokenizer.encode(TAIL, add_special_tokens=False)
        self._answers: dict[tuple[int, ...], list[int]] = {}

    @property
    def layers(self) -> list[None]:
        return [None]

    def make_cache(self) -> list[KVCache]:
        return [KVCache()]

    def __call__(self, inputs: mx.array, cache: list[Any]) -> mx.array:
        self._watch.before()
        # Before the cache is written to, as models ask.
        mask = create_attention_mask(inputs, cache[0]) if inputs.shape[1] == 1 else None
        ids = mx.repeat(inputs.astype(mx.float32)[:, None, :, None], self._width, axis=3)
        keys, _ = cache[0].update_and_fetch(ids, ids)
        rows = keys.each if isinstance(keys, Rows) else list(mx.split(keys, keys.shape[0]))
        histories = [[int(token) for token in _floats(row[0, 0, :, 0])] for row in rows]
        if isinstance(mask, mx.array):
            histories = [_seen(history, row) for history, row in zip(histories, mask, strict=True)]
        if inputs.shape[1] > 1:
            counts = getattr(cache[0], "lengths", [inputs.shape[1]] * len(rows))
            self._watch.read(sum(counts))
            return self._read(inputs, histories, counts)
        self._watch.wrote(len(rows))
        chosen = [self._next(history) for history in histories]
        return (mx.arange(self._vocab)[None, :] == mx.array(chosen)[:, None])[
            :, None, :
        ] * self.scale

    def _read(
        self, inputs: mx.array, histories: Sequence[list[int]], counts: Sequence[int]
    ) -> mx.array:
        scores = mx.zeros((*inputs.shape, self._vocab))
        for row, (history, count) in enumerate(zip(histories, counts, strict=True)):
            if self._may_be_asked(history):
                scores[row, count - 1, self._next(history)] = SURE
        return scores

    def _may_be_asked(self, history: list[int]) -> bool:
        """Whether a pass over part of a prompt may be the one whose scores are looked at."""
        at = self._prompt_end(history)
        return at is not None and (at == len(history) or tuple(history[:at]) in self._answers)

    def _next(self, history: list[int]) -> int:
        at = self._prompt_end(history)
        if at is None:
            return self._eos
        prompt, written = tuple(history[:at]), history[at:]
        if prompt not in self._answers:
            text = self._script(self._tokenizer.decode(list(prompt)))
            self._answers[prompt] = [
                *self._tokenizer.encode(text, add_special_tokens=False),
                self._eos,
            ]
        answer = self._answers[prompt]
        # One more step runs after the end: the next pass begins before the last token is read.
        more = len(written) < len(answer) and answer[: len(written)] == written
        return answer[len(written)] if more else self._eos

    def _prompt_end(self, history: list[int]) -> int | None:
        width = len(self._tail)
        for start in range(len(history) - width, -1, -1):
            if history[start : start + width] == self._tail:
                return start + width
        return None


def load_scripted(
    path: Path, name: str, answers: Answers, pace: Watch, fallback: ToolFallback, fingerprint: str
) -> LoadedModel:
    """A scripted model with the tokenizer and template in ``path``; no weights are read."""
    config = model_config.read_json(path / "config.json")
    generation = model_config.read_json(path / "generation_config.json")
    eos = model_config.eos_ids(config, generation)
    tokenizer = utils.load_tokenizer(
        path, {"trust_remote_code": False}, eos_token_ids=sorted(eos) or None
    )
    template = ChatTemplate(tokenizer, fallback, model_type=str(config.get("model_type", "")))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return LoadedModel(
        name=name,
        path=path,
        model=ScriptedModel(tokenizer, len(tokenizer), end, answers, pace),
        tokenizer=tokenizer,
        template=template,
        context_limit=WINDOW,
        fingerprint=fingerprint,
        defaults=Sampling(),
        eos_ids=frozenset(tokenizer.eos_token_ids) | eos,
        weight_bytes=0,
        tools=template.tools,
        rows_share_passes=True,
        rows_stack=True,
    )


def _seen(history: list[int], mask: mx.array) -> list[int]:
    """The tokens that a row's mask lets it see."""
    columns = cast("list[bool]", mask.flatten().tolist())
    return [token for token, seen in zip(history, columns, strict=True) if seen]


def _floats(array: mx.array) -> list[float]:
    return cast("list[float]", array.tolist())
