"""The model's own forward passes, timed without a server, in a process of their own.

``python -m anyclaude.engine.floor FOLDER`` reads one JSON object a line and answers each with
one. ``{"op": "first", "system": …, "turns": […], "known": [[turns, answer], …]}`` times the way
to the prompt's first token over a cache that holds what it shares with the ``known``
conversations of that system prompt; ``"op": "count"`` only counts; ``{"op": "decode", "tokens":
N}`` goes on from there. It ends with its input.

Prompts are run as mlx-lm's ``generate_step`` runs them: all but the last token, then that one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anyclaude.engine.blas import load_blas
from anyclaude.types import JsonValue

if TYPE_CHECKING:
    import mlx.nn as nn
    from mlx_lm.tokenizer_utils import TokenizerWrapper

PASS_TOKENS = 2048  # generate_step's own, the tokens of one forward pass at most


class Floor:
    """One model, and one cache that holds the KV of ``_held``."""

    def __init__(self, model: nn.Module, tokenizer: TokenizerWrapper) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._cache: list[Any] = []
        self._held: list[int] = []

    def answer(self, asked: Mapping[str, Any]) -> dict[str, JsonValue]:
        """The answer to one line."""
        if asked["op"] == "decode":
            return {"tokens_per_second": self._decode(int(asked["tokens"]))}
        system = str(asked["system"])
        tokens = self._tokens(system, asked["turns"])
        shared = self._shared(tokens, system, asked["known"])
        figures: dict[str, JsonValue] = {
            "prompt_tokens": len(tokens),
            "new_tokens": len(tokens) - shared,
        }
        if asked["op"] == "first":
            self._make_room(tokens, shared)
            started = time.perf_counter()
            figures["token"] = self._run(tokens[shared:])
            figures["seconds"] = time.perf_counter() - started
        return figures

    def _tokens(self, system: str, turns: Sequence[str], answer: str = "") -> list[int]:
        """The prompt of a conversation, with ``answer`` as far as the model wrote it."""
        roles = ("user", "assistant")
        messages = [{"role": "system", "content": system}]
        messages += [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
        text: str = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        encoded: list[int] = self._tokenizer.encode(text + answer, add_special_tokens=False)
        return encoded

    def _shared(self, tokens: list[int], system: str, known: Sequence[Any]) -> int:
        """Leading tokens of the prompt that those conversations had; one is left to run."""
        held = [self._tokens(system, turns, answer) for turns, answer in known]
        return min(max((_common(tokens, other) for other in held), default=0), len(tokens) - 1)

    def _make_room(self, tokens: list[int], shared: int) -> None:
        """Makes the cache hold the first ``shared`` tokens, with room for the rest.

        They are run once untimed where they can be taken back, so that the timed pass doesn't
        pay for the cache's growth.
        """
        from mlx_lm.models.cache import can_trim_prompt_cache

        self._go_to(tokens[:shared])
        if shared and can_trim_prompt_cache(self._cache):
            self._run(tokens[shared:])
            self._go_to(tokens[:shared])

    def _go_to(self, tokens: list[int]) -> None:
        """Makes the cache hold these tokens and no more."""
        from mlx_lm.models import cache

        keep = _common(self._held, tokens)
        surplus = len(self._held) - keep
        if not keep or (surplus and not cache.can_trim_prompt_cache(self._cache)):
            self._cache, self._held, keep = cache.make_prompt_cache(self._model), [], 0
        elif surplus:
            cache.trim_prompt_cache(self._cache, surplus)
            self._held = self._held[:keep]
        self._fill(tokens[keep:])

    def _run(self, tokens: list[int]) -> int:
        """The token that follows these, which are added to the cache."""
        import mlx.core as mx

        self._fill(tokens[:-1])
        logits = self._model(mx.array(tokens[-1:])[None], cache=self._cache)
        self._held += tokens[-1:]
        return cast(int, mx.argmax(logits[0, -1]).item())

    def _fill(self, tokens: list[int]) -> None:
        import mlx.core as mx

        for start in range(0, len(tokens), PASS_TOKENS):
            part = tokens[start : start + PASS_TOKENS]
            self._model(mx.array(part)[None], cache=self._cache)
            mx.eval([layer.state for layer in self._cache])
            mx.clear_cache()
            self._held += part

    def _decode(self, count: int) -> float:
        """Tokens a second after the cache's own, the first one apart."""
        import mlx.core as mx
        from mlx_lm.generate import generate_step

        last, self._held = self._held[-1], []  # what the cache holds afterwards isn't kept track of
        steps = generate_step(
            mx.array([last]), self._model, max_tokens=count, prompt_cache=self._cache
        )
        next(steps)
        started = time.perf_counter()
        made = sum(1 for _ in steps)
        return made / (time.perf_counter() - started)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def main() -> None:
    load_blas()
    from mlx_lm import utils

    from anyclaude.engine.load import _materialise

    folder = Path(sys.argv[1])
    # mlx-lm's own classes and attention, with the weights in the form that the engine runs.
    model, _ = utils.load_model(folder, lazy=True, trust_remote_code=False)
    _materialise(model, lambda fraction, what: None)
    floor = Floor(model, utils.load_tokenizer(folder, {"trust_remote_code": False}))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(floor.answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
