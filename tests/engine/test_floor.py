"""The floor runs what it says: the same first token over a shared prefix as from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm import utils

from anyclaude.engine.floor import Floor
from tests.engine.tiny_models import Make, hybrid, latent, plain, recurrent, rotating

SYSTEM = "You know everything about ships and say little of it."
FIRST, OTHER = ["How long is a ship?"], ["How deep does it go?"]


@pytest.fixture(params=[plain, rotating, recurrent, hybrid, latent])
def make_floor(request: pytest.FixtureRequest, embedded_model_dir: Path) -> Any:
    make: Make = request.param
    tokenizer = utils.load_tokenizer(embedded_model_dir)

    def floor() -> Floor:
        mx.random.seed(7)
        return Floor(make(len(tokenizer)), tokenizer)

    return floor


def first(floor: Floor, turns: list[str], *known: tuple[list[str], str]) -> Any:
    return floor.answer({"op": "first", "system": SYSTEM, "turns": turns, "known": known})


def test_a_prefix_that_is_there_changes_nothing_but_the_time(make_floor: Any) -> None:
    warm = make_floor()
    grown = [*FIRST, "Very long", "How wide?"]
    cold = first(warm, FIRST)
    assert cold["new_tokens"] == cold["prompt_tokens"]
    found = {
        "grown": first(warm, grown, (FIRST, "Very long")),
        "branch": first(warm, OTHER, (FIRST, "Very long"), (grown, "")),
        "back": first(warm, [*grown, "Wide", "Why?"], (grown, "Wide")),
    }
    for one, turns in (("grown", grown), ("branch", OTHER), ("back", [*grown, "Wide", "Why?"])):
        from_nothing = first(make_floor(), turns)
        assert found[one]["token"] == from_nothing["token"], one
        assert found[one]["prompt_tokens"] == from_nothing["prompt_tokens"]
        assert 0 < found[one]["new_tokens"] < cold["prompt_tokens"]
        assert found[one]["seconds"] > 0


def test_the_same_prompt_again_runs_its_last_token(make_floor: Any) -> None:
    floor = make_floor()
    before = first(floor, FIRST)
    again = first(floor, FIRST, (FIRST, ""))
    assert (again["new_tokens"], again["token"]) == (1, before["token"])


def test_counting_runs_nothing(make_floor: Any) -> None:
    floor = make_floor()
    asked = {"op": "count", "system": SYSTEM, "turns": OTHER, "known": [[FIRST, ""]]}
    counted = floor.answer(asked)
    assert set(counted) == {"prompt_tokens", "new_tokens"}
    assert floor.answer({**asked, "known": []})["new_tokens"] == counted["prompt_tokens"]


def test_decoding_goes_on_and_is_over(make_floor: Any) -> None:
    floor = make_floor()
    before = first(floor, FIRST)
    assert floor.answer({"op": "decode", "tokens": 8})["tokens_per_second"] > 0
    assert first(floor, FIRST, (FIRST, ""))["token"] == before["token"]
