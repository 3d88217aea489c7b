"""Scores of one position, without those of the others."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx_lm.models.cache import make_prompt_cache

from anyclaude.engine import head, ragged
from tests.doubles.token_model import Gate, TokenMemory
from tests.engine.tiny_models import Make, build, hybrid, latent, plain, recurrent, rotating

VOCAB = 97


@pytest.mark.parametrize("make", [plain, rotating, hybrid, latent])
def test_a_narrowed_pass_gives_the_last_scores(make: Make) -> None:
    model = build(make, VOCAB)
    narrow = head.install(model)
    assert narrow is not None
    tokens = mx.array([[5, 6, 7, 8, 9]])
    whole = model(tokens, cache=make_prompt_cache(model))
    with narrow.only((5,)):
        last = model(tokens, cache=make_prompt_cache(model))
    assert last.shape == (1, 1, VOCAB)
    assert mx.max(mx.abs(last[:, 0] - whole[:, 4])).item() < 1e-5
    assert model(tokens, cache=make_prompt_cache(model)).shape == whole.shape


def test_each_row_has_a_last_position_of_its_own() -> None:
    model = build(plain, VOCAB)
    narrow = head.install(model)
    assert narrow is not None
    tokens, counts = mx.array([[5, 6, 7], [8, 0, 0]]), (3, 1)
    rows = [make_prompt_cache(model) for _ in counts]
    with narrow.only(counts):
        scores = model(tokens, cache=ragged.ragged(rows, counts))
    alone = [
        model(tokens[i : i + 1, :count], cache=make_prompt_cache(model))[:, -1]
        for i, count in enumerate(counts)
    ]
    assert mx.max(mx.abs(scores[:, 0] - mx.concatenate(alone))).item() < 1e-5


def test_a_model_without_a_layer_we_know_is_left_as_it_is() -> None:
    assert head.install(build(recurrent, VOCAB)) is None

    class Tokenizer:
        def encode(self, text: str, add_special_tokens: bool) -> list[int]:
            return [90]

    double = TokenMemory(Tokenizer(), VOCAB, 0, lambda prompt: "", Gate())
    assert head.install(double) is None
