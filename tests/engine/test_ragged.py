"""Rows of different lengths in one pass give what each gives alone."""

from __future__ import annotations

import mlx.core as mx
import pytest

from anyclaude.engine import ragged
from anyclaude.engine.kv import Layout
from tests.engine.tiny_models import (
    Make,
    build,
    fed,
    hybrid,
    latent,
    plain,
    prompts,
    recurrent,
    rotating,
    sinks,
)

VOCAB = 97
LENGTHS = (1, 5, 40, 70)


@pytest.mark.parametrize("make", [plain, rotating, recurrent, hybrid, sinks])
def test_steps_together_are_steps_alone(make: Make) -> None:
    model = build(make, VOCAB)
    assert ragged.fits(model, VOCAB)
    together = [fed(model, prompt) for prompt in prompts(VOCAB, LENGTHS)]
    alone = [fed(model, prompt) for prompt in prompts(VOCAB, LENGTHS)]
    for step in range(40):
        nexts = [(step * 7 + row) % VOCAB for row in range(len(LENGTHS))]
        shared = model(
            mx.array([[token] for token in nexts]), cache=ragged.ragged(together, [1] * 4)
        )[:, -1]
        single = mx.concatenate(
            [
                model(mx.array([[token]]), cache=caches)[:, -1]
                for token, caches in zip(nexts, alone, strict=True)
            ]
        )
        assert mx.max(mx.abs(shared - single)).item() < 1e-4


@pytest.mark.parametrize("make", [plain, rotating, sinks])
def test_pieces_of_different_lengths_are_read_in_one_pass(make: Make) -> None:
    model = build(make, VOCAB)
    caches = [fed(model, prompt) for prompt in prompts(VOCAB, LENGTHS)]
    assert ragged.any_length(Layout.of(model).leaves(caches[0]))
    pieces = [[3], [4, 5, 6], [7] * 30, [8, 9]]
    width = max(map(len, pieces))
    tokens = mx.array([[*piece, *[0] * (width - len(piece))] for piece in pieces])
    logits = model(tokens, cache=ragged.ragged(caches, [len(piece) for piece in pieces]))
    for row, (prompt, piece) in enumerate(zip(prompts(VOCAB, LENGTHS), pieces, strict=True)):
        alone = model(mx.array([piece]), cache=fed(model, prompt))
        assert mx.max(mx.abs(logits[row, : len(piece)] - alone[0])).item() < 1e-4
    after = model(mx.array([[1]] * 4), cache=ragged.ragged(caches, [1] * 4))[:, -1]
    for row, (prompt, piece) in enumerate(zip(prompts(VOCAB, LENGTHS), pieces, strict=True)):
        alone = model(mx.array([[1]]), cache=fed(model, [*prompt, *piece]))[:, -1]
        assert mx.max(mx.abs(after[row] - alone[0])).item() < 1e-4


def test_a_model_with_attention_of_its_own_is_found_out() -> None:
    assert not ragged.fits(build(latent, VOCAB), VOCAB)


def test_recurrent_rows_never_share_a_pass_over_different_lengths() -> None:
    model = build(recurrent, VOCAB)
    caches = [fed(model, prompt) for prompt in prompts(VOCAB, LENGTHS)[:2]]
    assert not ragged.any_length(Layout.of(model).leaves(caches[0]))
    with pytest.raises(ragged.Unsupported):
        ragged.ragged(caches, [1, 2])
