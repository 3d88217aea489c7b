"""Turns and chunk sizes: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from anyclaude.engine.scheduler import (
    AGING_SECONDS,
    BACKGROUND,
    LEAST_CHUNK,
    LEAST_SECONDS,
    LONG_FACTOR,
    SHORT_FACTOR,
    SHORT_PROMPT,
    ChunkSizer,
    in_order,
    next_reader,
    price,
    rank_of,
)
from anyclaude.types import Role


@dataclass(frozen=True)
class Asked:
    name: str
    rank: int
    submitted: float


@dataclass(frozen=True)
class Read:
    name: str
    service: float


def names(jobs: list[Asked]) -> list[str]:
    return [job.name for job in jobs]


def test_the_main_conversation_goes_first_then_by_arrival() -> None:
    jobs = [
        Asked("title", rank_of(Role.TITLE), 1.0),
        Asked("second", rank_of(Role.MAIN), 3.0),
        Asked("subagent", rank_of(Role.SUBAGENT), 0.0),
        Asked("first", rank_of(Role.MAIN), 2.0),
        Asked("warm-up", BACKGROUND, 0.0),
    ]
    assert names(in_order(jobs, 4.0)) == ["first", "second", "subagent", "title", "warm-up"]


def test_waiting_makes_urgent() -> None:
    title = Asked("title", rank_of(Role.TITLE), 0.0)
    main = Asked("main", rank_of(Role.MAIN), 3 * AGING_SECONDS)
    assert names(in_order([main, title], 3 * AGING_SECONDS)) == ["title", "main"]


def test_every_role_has_a_rank_before_the_background() -> None:
    assert all(rank_of(role) < BACKGROUND for role in Role)
    assert price(rank_of(Role.MAIN)) < price(rank_of(Role.TITLE))


def test_the_one_that_had_least_is_read_next() -> None:
    assert next_reader([Read("a", 30.0), Read("b", 10.0), Read("c", 10.0)]).name == "b"


def measured(step: float = 0.06, token: float = 0.002, largest: int = 512) -> ChunkSizer:
    sizer = ChunkSizer(largest)
    sizer.decoded(step)
    sizer.read(100, token * 100, decoding=False)
    return sizer


def test_nobody_waits_so_the_chunk_is_large() -> None:
    assert measured().chunk(3000, 3000, decoding=False) == 512
    assert measured().chunk(40, 3000, decoding=False) == 40


@pytest.mark.parametrize(
    ("new_tokens", "factor"), [(SHORT_PROMPT, SHORT_FACTOR), (SHORT_PROMPT + 1, LONG_FACTOR)]
)
def test_a_running_answer_bounds_the_chunk(new_tokens: int, factor: float) -> None:
    sizer = measured(step=0.1)
    chunk = sizer.chunk(5000, new_tokens, decoding=True)
    gap = sizer.step_seconds + chunk * sizer.token_seconds
    assert gap <= factor * sizer.step_seconds + 1e-9
    assert gap > (factor - 0.1) * sizer.step_seconds


def test_a_quick_machine_may_take_a_fifth_of_a_second() -> None:
    sizer = measured(step=0.01, token=0.0005)
    chunk = sizer.chunk(5000, 500, decoding=True)
    assert chunk == pytest.approx((LEAST_SECONDS - 0.01) / 0.0005, abs=1)


def test_unmeasured_it_begins_small_beside_an_answer() -> None:
    assert ChunkSizer(512).chunk(3000, 3000, decoding=True) == 4 * LEAST_CHUNK
    assert ChunkSizer(512).tokens_per_second == 0.0


def test_a_slow_machine_still_gets_on() -> None:
    assert measured(step=0.01, token=1.0).chunk(3000, 3000, decoding=True) == LEAST_CHUNK


def test_the_step_before_the_chunk_is_not_the_chunks() -> None:
    sizer = measured(step=0.1, token=0.002)
    for _ in range(20):
        sizer.read(100, 0.1 + 0.4, decoding=True)
    assert sizer.token_seconds == pytest.approx(0.004, rel=1e-3)
    sizer.read(LEAST_CHUNK - 1, 50.0, decoding=False)
    assert sizer.token_seconds == pytest.approx(0.004, rel=1e-3)
