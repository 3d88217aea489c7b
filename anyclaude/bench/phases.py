"""The phases of a round: what is asked, and which figures are taken of it.

Whoever is measured gets the same prompts, one after the other, in an order that turns round
with every round. Times are those a client sees.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from anyclaude.bench.client import Client, Running
from anyclaude.bench.figures import FLOOR, OURS, Figures, Unit
from anyclaude.bench.process import FloorProcess, OwnServer
from anyclaude.bench.workload import Prompt, Sizes, Words, several
from anyclaude.errors import AnyclaudeError

TTFT_TOKENS = 8
LONG_TOKENS = 2000
USUAL_GAPS = 24
"""Gaps of a stream that say what is usual for it, before anything else happens."""
ATTEMPTS = 4
STATS_S = 1.2
"""Within this the server's own figures, taken once a second, are new."""

_HELPFUL = "You are a helpful assistant. You answer at length."


class Server(Protocol):
    """One that is measured over HTTP."""

    @property
    def name(self) -> str: ...

    @property
    def client(self) -> Client: ...

    async def restart(self) -> None: ...

    def memory(self) -> int: ...


@dataclass(slots=True)
class Round:
    """What the phases of one round share."""

    words: Words
    sizes: Sizes
    own: OwnServer
    servers: Sequence[Server]
    floor: FloorProcess
    figures: Figures
    begun: dict[int, tuple[Prompt, str]] = field(default_factory=dict)

    def add(self, phase: str, who: str, value: float, unit: Unit = "s", words: int = 0) -> None:
        self.figures.add(phase, words, unit, who, value)

    async def each(self, measure: Callable[[Server], Awaitable[None]]) -> None:
        """Measures every server; what a peer or its model can't do is a note."""
        for server in self.servers:
            try:
                await measure(server)
            except AnyclaudeError as error:
                if server is self.own and not isinstance(error, _TooShort):
                    raise
                self.figures.note(str(error))


async def prefix(round: Round) -> None:
    """A cold prompt, then so many times: the conversation grown, another one over the same system
    prompt, and back."""
    for size in round.sizes.prefixes:
        await _ask_again(round, size)


async def _ask_again(round: Round, size: int) -> None:
    """Every server in turn is asked each prompt, and its forward pass timed next to our answer:
    a machine that slows down slows all of them."""
    system = round.words.system(size)
    phases = ("cold", *("turn", "branch", "back") * round.sizes.cycles)
    talks = {server.name: _Talk(system) for server in round.servers}

    async def measure(server: Server, number: int, phase: str) -> None:
        talk = talks[server.name]
        if len(talk.asked) < number:
            return  # it failed before
        prompt = talk.next(phase, round.words.question(f"Question {number}"))
        answer = await server.client.ask(prompt, TTFT_TOKENS)
        round.add(phase, server.name, answer.ttft, words=size)
        known = tuple(talk.asked)
        talk.add(phase, prompt, answer.text)
        if server is round.own:
            await round.own.written()
            await _own_pass(round, phase, size, prompt, known, answer.prompt_tokens)

    for number, phase in enumerate(phases):
        await round.each(partial(measure, number=number, phase=phase))
    round.begun[size] = talks[round.own.name].asked[0]


class _Talk:
    """What a server was asked behind one cold prompt, and what it answered."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._grown: tuple[Prompt, str] | None = None
        self.asked: list[tuple[Prompt, str]] = []

    def next(self, phase: str, question: str) -> Prompt:
        if self._grown is None or phase == "branch":
            return Prompt(self._system, (question,))
        prompt, answer = self._grown
        return prompt.then(answer, question)

    def add(self, phase: str, prompt: Prompt, answer: str) -> None:
        self.asked.append((prompt, answer))
        if phase != "branch":
            self._grown = (prompt, answer)


async def _own_pass(
    round: Round,
    phase: str,
    size: int,
    prompt: Prompt,
    known: Sequence[tuple[Prompt, str]],
    tokens: int,
) -> None:
    """The model's own forward pass over what is new in ``prompt`` after the ``known`` ones."""
    took = await round.floor.first(prompt, known)
    round.add(phase, FLOOR, took["seconds"], words=size)
    if took["prompt_tokens"] != tokens:
        round.figures.note(
            f"{phase} at {size} words is a prompt of {tokens} tokens for anyclaude and"
            f" of {took['prompt_tokens']:.0f} by mlx-lm's template"
        )


async def restart(round: Round) -> None:
    """Every server stopped and started on what it has on disk, then a branch of each size."""

    async def measure(server: Server) -> None:
        await server.restart()
        # The last one first: the forward pass has what comes before it still.
        for size, known in reversed(round.begun.items()):
            prompt = Prompt(known[0].system, (round.words.question("After a restart"),))
            answer = await server.client.ask(prompt, TTFT_TOKENS)
            round.add("restart", server.name, answer.ttft, words=size)
            if server is not round.own:
                continue
            if not int(answer.cache.get("disk", 0)):
                round.figures.note(f"after a restart nothing came from disk at {size} words")
            await round.own.written()
            await _own_pass(round, "restart", size, prompt, [known], answer.prompt_tokens)

    await round.each(measure)


async def decode(round: Round) -> None:
    """The speed of one stream over a short prompt."""
    prompt = several(round.words, 1)[0]
    count = round.sizes.decode_tokens

    async def measure(server: Server) -> None:
        answer = await server.client.ask(prompt, count)
        round.add("decode", server.name, answer.rate, "tok/s")

    await round.each(measure)
    await round.floor.first(prompt)
    round.add("decode", FLOOR, await round.floor.decode(count), "tok/s")


async def streams(round: Round) -> None:
    """Four and eight answers at once: all their tokens by the time until the last one ended."""
    for count, name in ((4, "four streams"), (8, "eight streams")):
        prompts = several(round.words, count)

        async def measure(
            server: Server, prompts: Sequence[Prompt] = prompts, name: str = name
        ) -> None:
            started = time.perf_counter()
            answers = await server.client.together(prompts, round.sizes.streams_tokens)
            took = time.perf_counter() - started
            made = sum(answer.output_tokens for answer in answers)
            round.add(name, server.name, made / took, "tok/s")

        await round.each(measure)


async def stall(round: Round) -> None:
    """A stream while a cold prompt is prefilled, and that prompt against one alone."""
    size = round.sizes.beside

    async def measure(server: Server, name: str) -> None:
        alone = await server.client.ask(round.words.fresh(size, f"alone {name}"), 4)
        async with server.client.stream(round.words.long_answer(name), LONG_TOKENS) as running:
            usual = await _usual(server, running)
            beside = await server.client.ask(round.words.fresh(size, f"beside {name}"), 4)
            until = beside.sent_at + beside.ttft
            longest = await _longest(server, running, beside.sent_at, until)
        round.add("stall: usual gap", server.name, usual, words=size)
        round.add("stall: longest gap", server.name, longest, words=size)
        round.add("stall: longest to usual", server.name, longest / usual, "x", size)
        round.add("stall: prompt alone", server.name, alone.ttft, words=size)
        round.add("stall: beside to alone", server.name, beside.ttft / alone.ttft, "x", size)

    await round.each(_again(measure))


async def join(round: Round) -> None:
    """A short cold request that joins a stream of long context."""
    size = round.sizes.joiner
    system = round.words.system(round.sizes.stream)

    async def measure(server: Server, name: str) -> None:
        kv = _KvOfJoin(round.own) if server is round.own else None
        if kv is not None:
            await kv.idle()
        long = Prompt(system, (round.words.story(name),))
        async with server.client.stream(long, LONG_TOKENS) as running:
            usual = await _usual(server, running)
            if kv is not None:
                await kv.take("stream")
            sent = time.perf_counter()
            joiner = round.words.long_answer(f"joiner {name}", size)
            async with server.client.stream(joiner, LONG_TOKENS) as joined:
                await joined.pieces(USUAL_GAPS)
                longest = await _longest(server, running, sent, time.perf_counter())
                if kv is not None:
                    await kv.take("both")
                    _still(server, running, joined)
        round.add("join: longest gap", server.name, longest, words=size)
        round.add("join: longest to usual", server.name, longest / usual, "x", size)
        if kv is not None:
            await kv.idle()
            alone = round.words.long_answer(f"alone {name}", size)
            async with server.client.stream(alone, LONG_TOKENS) as joined:
                await joined.pieces(USUAL_GAPS)
                await kv.take("joiner")
            kv.add_to(round)

    await round.each(_again(measure))


class _KvOfJoin:
    """What MLX holds more than idle while a stream runs, its joiner, or both."""

    def __init__(self, own: OwnServer) -> None:
        self._own = own
        self._idle = 0
        self._taken: dict[str, int] = {}

    async def idle(self) -> None:
        await asyncio.sleep(STATS_S)
        self._idle = await self._own.active_bytes()

    async def take(self, name: str) -> None:
        await asyncio.sleep(STATS_S)
        self._taken[name] = await self._own.active_bytes() - self._idle

    def add_to(self, round: Round) -> None:
        stream, joiner = self._taken["stream"], self._taken["joiner"]
        if stream + joiner > 0:
            ratio = self._taken["both"] / (stream + joiner)
            round.add("join: memory of both to own", OURS, ratio, "x", round.sizes.joiner)


async def memory(round: Round) -> None:
    """Several conversations over one prefix, none running: their KV against one and the tails."""
    size, count = round.sizes.shared, round.sizes.conversations
    system = round.words.system(size, "memory")
    prompts = [Prompt(system, (round.words.question(f"Number {i}"),)) for i in range(count)]
    small = Prompt(_HELPFUL, (round.words.question("Small"),))

    async def measure(server: Server) -> None:
        own = round.own if server is round.own else None
        if own is not None:
            await own.flush()
        await server.client.ask(small, 2)
        before = await _memory_of(server, own)
        one, first_tokens, tails = before, 1.0, 0.0
        for index, prompt in enumerate(prompts):
            answer = await server.client.ask(prompt, TTFT_TOKENS)
            counted = await round.floor.first(prompt, [(prompts[0], "")] * (index > 0), run=False)
            if index:
                tails += counted["new_tokens"] + answer.output_tokens
            else:
                first_tokens = counted["prompt_tokens"] + answer.output_tokens
                one = await _memory_of(server, own)
        grown = (await _memory_of(server, own)).since(before)
        round.add("memory: process grew", server.name, grown.process, "bytes", size)
        if own is not None:
            alone = one.since(before).kv
            round.add("memory: MLX grew", OURS, grown.mlx, "bytes", size)
            round.add("memory: KV of one", OURS, alone, "bytes", size)
            round.add(f"memory: KV of {count}", OURS, grown.kv, "bytes", size)
            if alone > 0:
                expected = alone * (1 + tails / first_tokens)
                round.add("memory: to one and tails", OURS, grown.kv / expected, "x", size)
                round.add("memory: MLX to KV", OURS, grown.mlx / grown.kv, "x", size)
                round.add("memory: process to KV", OURS, grown.process / grown.kv, "x", size)

    await round.each(measure)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Bytes: of the process, of MLX's arrays in it, and of the prefix tree."""

    process: int
    mlx: int = 0
    kv: int = 0

    def since(self, before: _Memory) -> _Memory:
        return _Memory(self.process - before.process, self.mlx - before.mlx, self.kv - before.kv)


async def _memory_of(server: Server, own: OwnServer | None) -> _Memory:
    """Taken when what ran is stored, and the server's own figures say so."""
    await asyncio.sleep(STATS_S)
    if own is None:
        return _Memory(server.memory())
    kv = int((await own.tier("kv")).get("bytes", 0))
    return _Memory(server.memory(), await own.active_bytes(), kv)


class _TooShort(AnyclaudeError):
    """An answer ended before what was to be measured beside it."""


def _again(
    measure: Callable[[Server, str], Awaitable[None]],
) -> Callable[[Server], Awaitable[None]]:
    """Measures beside another answer when one was too short: its length is the model's choice."""

    async def attempts(server: Server) -> None:
        for attempt in range(ATTEMPTS):
            try:
                return await measure(server, f"story {attempt}")
            except _TooShort:
                if attempt == ATTEMPTS - 1:
                    raise

    return attempts


def _still(server: Server, *streams: Running) -> None:
    if any(stream.ended for stream in streams):
        raise _TooShort(f"{server.name}: an answer ended before what was measured beside it")


async def _usual(server: Server, running: Running) -> float:
    """The median gap of a stream that has just begun."""
    if not await running.pieces(USUAL_GAPS + 1):
        _still(server, running)
    return statistics.median(running.answer.gaps())


async def _longest(server: Server, running: Running, start: float, stop: float) -> float:
    """The longest gap between those instants, the one that is open at the end included."""
    if not await running.pieces(len(running.answer.pieces) + 1):
        _still(server, running)
    return max(running.answer.gaps(start, stop))
