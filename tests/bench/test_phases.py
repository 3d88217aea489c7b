"""The phases around answers that end too soon, peers that fail, and what they make of times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from anyclaude.bench.client import Anthropic, Client
from anyclaude.bench.figures import FLOOR, OURS, Figures
from anyclaude.bench.phases import USUAL_GAPS, Round, memory, prefix, restart, stall
from anyclaude.bench.process import FloorProcess, OwnServer
from anyclaude.bench.run import PHASES
from anyclaude.bench.workload import Prompt, Sizes, Words
from anyclaude.cli.bench import PHASES as OFFERED
from anyclaude.errors import AnyclaudeError
from tests.bench.double import Double, Reply, answer, serving

SIZES = Sizes((60, 80), 50, 60, 40, 50, 3, 4, 4)


class Asked:
    """A server that is measured, at a double."""

    def __init__(self, name: str, double: Double) -> None:
        self.name = name
        self.client = Client(name, double.url, Anthropic(), {})
        self.kv = 0
        self.settled = 0
        self.restarts = 0

    def memory(self) -> int:
        return 1000 + 3 * self.kv

    async def flush(self) -> None:
        self.kv = 0

    async def written(self) -> None:
        self.settled += 1

    async def restart(self) -> None:
        self.restarts += 1

    async def tier(self, name: str) -> Mapping[str, Any]:
        self.kv += {0: 100, 100: 1350, 1450: 250}[self.kv]
        return {"tier": name, "bytes": self.kv}

    async def active_bytes(self) -> int:
        return 500 + 2 * self.kv


class Passes:
    """A floor that counts 50 tokens for a prompt, 8 of them new where it knows another."""

    def __init__(self) -> None:
        self.asked: list[tuple[Prompt, Sequence[tuple[Prompt, str]]]] = []
        self.seen: Callable[[str], None] = lambda name: None

    async def first(
        self, prompt: Prompt, known: Sequence[tuple[Prompt, str]] = (), *, run: bool = True
    ) -> Mapping[str, float]:
        self.asked.append((prompt, tuple(known)))
        self.seen("floor")
        return {"prompt_tokens": 35, "new_tokens": 8 if known else 35, "seconds": 0.5}


def round_of(own: Asked, *others: Asked) -> Round:
    return Round(
        Words("s"),
        SIZES,
        cast(OwnServer, own),
        cast("Sequence[Any]", (own, *others)),
        cast(FloorProcess, Passes()),
        Figures(),
    )


def slowly(part: int) -> None:
    threading.Event().wait(0.005)


def test_the_command_offers_every_phase_in_its_order() -> None:
    assert tuple(PHASES) == OFFERED


async def test_the_floor_knows_what_was_asked_before() -> None:
    with serving(Reply(answer("a", "b"))) as double:
        round = round_of(own := Asked(OURS, double))
        await prefix(round)
    assert own.settled == 8, "nothing is being written while the forward pass is timed"
    asked = cast(Passes, round.floor).asked
    assert len(asked) == 8
    cold, turn, branch, back = (known for _, known in asked[:4])
    assert cold == ()
    assert [text for _, text in turn] == ["ab"]
    assert branch == (*turn, (asked[1][0], "ab"))
    assert back[1] == (asked[1][0], "ab")
    assert asked[3][0].turns[1:4:2] == ("ab", "ab")
    found = round.figures.find("branch", 80)
    assert found is not None
    assert set(found.samples) == {OURS, FLOOR}
    assert round.figures.notes == [], "both count 35 tokens"


async def test_warm_prompts_are_asked_again_behind_one_cold_one() -> None:
    with serving(Reply(answer("a", "b"))) as double:
        round = round_of(Asked(OURS, double))
        round.sizes = replace(SIZES, prefixes=(60,), cycles=3)
        await prefix(round)
    counts = {figure.phase: len(figure.samples[OURS]) for figure in round.figures}
    assert counts == {"cold": 1, "turn": 3, "branch": 3, "back": 3}
    asked = [prompt for prompt, _ in cast(Passes, round.floor).asked]
    turns = [prompt.turns for prompt in asked]
    assert len(set(turns)) == 10
    assert [len(turn) for turn in turns] == [1, 3, 1, 5, 7, 1, 9, 11, 1, 13]


async def test_servers_and_the_floor_are_asked_in_turn() -> None:
    times: list[str] = []
    ours = Reply(answer("a"), before=lambda part: times.append("ours") if not part else None)
    other = Reply(answer("b"), before=lambda part: times.append("peer") if not part else None)
    with serving(ours) as one, serving(other) as two:
        round = round_of(Asked(OURS, one), Asked("peer", two))
        passes = cast(Passes, round.floor)
        passes.seen = times.append
        await prefix(round)
        turns = [len(body["messages"]) for _, _, body in two.asked]
    assert times == ["ours", "floor", "peer"] * 8
    assert turns == [1, 3, 1, 5] * 2
    assert all(answer == "a" for _, known in passes.asked for _, answer in known)


async def test_after_a_restart_the_forward_pass_knows_what_was_asked_before_it() -> None:
    with serving(Reply(answer("a", "b"))) as one, serving(Reply(answer("c"))) as two:
        round = round_of(own := Asked(OURS, one), other := Asked("peer", two))
        await prefix(round)
        passes = cast(Passes, round.floor)
        passes.asked.clear()
        own.settled = 0
        await restart(round)
    assert (own.restarts, other.restarts, own.settled) == (1, 1, 2)
    large, small = passes.asked
    for (prompt, known), size in ((large, 80), (small, 60)):
        assert known == (round.begun[size],)
        assert prompt.system == round.begun[size][0].system
        found = round.figures.find("restart", size)
        assert found is not None
        assert set(found.samples) == {OURS, FLOOR, "peer"}
    assert round.figures.notes == [], "the double says that four tokens came from disk"


async def test_a_stream_is_measured_beside_a_prompt_and_left() -> None:
    long = Reply(answer(*"x" * 4000), before=slowly)
    with serving(Reply(answer("a")), long, Reply(answer("b"))) as double:
        round = round_of(Asked(OURS, double))
        await stall(round)
        assert double.hung_up.wait(30)
    names = ("usual gap", "longest gap", "longest to usual", "prompt alone", "beside to alone")
    found = {name: round.figures.find(f"stall: {name}", 50) for name in names}
    values = {name: figure.samples[OURS][0] for name, figure in found.items() if figure}
    assert set(values) == set(names)
    assert values["longest to usual"] == values["longest gap"] / values["usual gap"]


async def test_answers_that_are_too_short_are_a_note_in_the_end() -> None:
    with serving(Reply(answer(*"x" * USUAL_GAPS))) as double:
        round = round_of(Asked(OURS, double))
        await stall(round)
        asked = [body["messages"][0]["content"] for _, _, body in double.asked]
    assert len(asked) == len(set(asked)) == 8, "four stories, each with a prompt alone before it"
    assert round.figures.notes == ["anyclaude: an answer ended before what was measured beside it"]
    assert list(round.figures) == []


async def test_a_peer_that_fails_is_a_note_and_we_are_an_error() -> None:
    with serving(Reply(answer("a"))) as good, serving(Reply(["full"], status=529)) as bad:
        round = round_of(Asked(OURS, good), Asked("peer", bad))
        await prefix(round)
        assert round.figures.notes == ["peer: 529 full"]
        with pytest.raises(AnyclaudeError, match="ours: 529 full"):
            await prefix(round_of(Asked("ours", bad)))


async def test_memory_of_several_against_one_and_the_tails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("anyclaude.bench.phases.STATS_S", 0.0)
    with serving(Reply(answer("a", "b"), 200)) as double:
        round = round_of(Asked(OURS, double))
        await memory(round)
    figures = {figure.phase: figure.samples[OURS][0] for figure in round.figures}
    assert figures["memory: KV of one"] == 1350
    assert figures["memory: KV of 3"] == 1600
    # One is 35 + 2 tokens; two more tails of 8 + 2 each.
    assert figures["memory: to one and tails"] == pytest.approx(1600 / (1350 * (1 + 20 / 37)))
    assert (figures["memory: process grew"], figures["memory: MLX grew"]) == (4800, 3200)
    assert (figures["memory: process to KV"], figures["memory: MLX to KV"]) == (3.0, 2.0)
