"""Answers to the same question put in other words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anyclaude.caches.response.cache import ResponseCache
from anyclaude.caches.response.control import CacheControl
from anyclaude.caches.response.entry import TextPart
from anyclaude.caches.response.key import CacheKey, key_of
from anyclaude.caches.response.memory import MemoryTier
from anyclaude.caches.response.persistent import PersistentOptions, PersistentTier
from anyclaude.caches.semantic.cache import (
    MIN_THRESHOLD,
    Question,
    SemanticCache,
    SemanticOptions,
    question_of,
)
from anyclaude.caches.semantic.embed import CalledEmbedder, Embedder, Vector, WordLlamaEmbedder
from anyclaude.caches.semantic.index import LocalIndex, SqlitePoints, VectorIndex
from anyclaude.caches.semantic.qdrant import QdrantIndex
from anyclaude.errors import ConfigError
from anyclaude.types import Message, MessagesRequest, Sampling, TextBlock, Tier, ToolResultBlock
from tests.caches.response.kit import SERVED, Clock, Reports, entry, request, tool
from tests.caches.semantic.pairs import ADVERSARIAL, PARAPHRASES
from tests.doubles.qdrant import FakeQdrant


class Gullible:
    """An embedder to which everything is the same, so that the guards stand alone."""

    name = "gullible"

    async def embed(self, text: str) -> Vector:
        return np.array([1.0, 0.0, 0.0], dtype=np.float32)


class Words:
    """Vectors by the words of a text, whatever their order."""

    name = "words"

    def __init__(self) -> None:
        self.broken = False

    async def embed(self, text: str) -> Vector:
        if self.broken:
            raise OSError("no embedder")
        vector = np.zeros(64, dtype=np.float32)
        for word in text.split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return vector / np.linalg.norm(vector)


class House:
    """A response cache in memory with a semantic one."""

    def __init__(self, embedder: Embedder, index: VectorIndex) -> None:
        self.clock = Clock()
        self.reports = Reports()
        self.memory = MemoryTier(self.clock, 10**7)
        self.semantic = SemanticCache(
            embedder,
            index,
            SemanticOptions(timeout_s=30.0),
            clock=self.clock,
            wall=self.clock,
            report=self.reports,
        )
        self.cache = ResponseCache(wall=self.clock, memory=self.memory, semantic=self.semantic)

    async def keep(self, asked: MessagesRequest, answer: str = "hello") -> bool:
        question = question_of(asked, SERVED)
        return await self.cache.store(
            key_of(asked, SERVED), entry(TextPart(answer)), CacheControl(), question
        )

    async def ask(self, asked: MessagesRequest) -> str | None:
        hit = await self.cache.lookup(
            key_of(asked, SERVED), CacheControl(), question_of(asked, SERVED)
        )
        if hit is None:
            return None
        assert hit.tier is Tier.SEMANTIC or hit.similarity == 1
        return f"{hit.tier}: {hit.entry.parts[0].text}"  # type: ignore[union-attr]


@pytest.fixture
def house() -> House:
    return House(Words(), LocalIndex())


def asking(text: str, *, system: str = "Be brief.") -> MessagesRequest:
    return replace(
        request(Message("user", (TextBlock("A reminder."), TextBlock(text)))),
        system=(TextBlock(system),),
    )


async def test_the_same_question_in_other_words_has_the_answer(house: House) -> None:
    await house.keep(asking("What is a mutex?"))
    assert await house.ask(asking("What is a mutex?")) == "response: hello"
    assert await house.ask(asking("Can you tell me what's a mutex?")) == "semantic: hello"
    assert await house.ask(asking("What is a futex?")) is None
    stats = house.cache.stats()[3]
    assert (stats.tier, stats.hits, stats.misses, stats.entries) == ("semantic", 1, 1, 1)
    assert stats.tokens_saved == 42


@pytest.mark.parametrize(
    "other",
    [
        asking("What's a mutex?", system="Be long."),
        replace(asking("What's a mutex?"), max_tokens=5),
        replace(asking("What's a mutex?"), sampling=Sampling(1.0)),
        request(Message("user", (TextBlock("What's a mutex?"),))),
        request(
            Message("user", (TextBlock("Hi"),)),
            Message("assistant", (TextBlock("Ho"),)),
            Message("user", (TextBlock("A reminder."), TextBlock("What's a mutex?"))),
        ),
    ],
    ids=["system", "max_tokens", "sampling", "reminder", "history"],
)
async def test_everything_else_must_be_equal(house: House, other: MessagesRequest) -> None:
    await house.keep(asking("What is a mutex?"))
    assert await house.ask(other) is None


def test_only_sentences_of_a_request_without_tools_are_questions() -> None:
    assert question_of(asking("What is a mutex?"), SERVED) is not None
    assert question_of(replace(asking("What?"), tools=(tool(),)), SERVED) is None
    for text in ("", "  ", "two\nlines", "x" * 1001):
        assert question_of(asking(text), SERVED) is None
    assert question_of(asking("one line\n"), SERVED) is not None
    for last in (
        Message("assistant", (TextBlock("What"),)),
        Message("user", ()),
        Message("user", (ToolResultBlock("t", (TextBlock("What"),)),)),
    ):
        assert question_of(request(last), SERVED) is None


async def test_a_private_answer_is_not_found_by_meaning(house: House) -> None:
    asked = asking("What is a mutex?")
    question = question_of(asked, SERVED)
    await house.cache.store(key_of(asked, SERVED), entry(), CacheControl(private=True), question)
    assert await house.ask(asking("What's a mutex?")) is None


async def test_a_question_whose_answer_is_gone_is_forgotten(house: House) -> None:
    await house.keep(asking("What is a mutex?"))
    house.memory.flush()
    assert await house.ask(asking("What's a mutex?")) is None
    await house.keep(asking("Explain a mutex."))
    assert house.cache.stats()[3].entries == 1


async def test_a_flush_forgets_the_questions(house: House) -> None:
    await house.keep(asking("What is a mutex?"))
    assert await house.cache.flush(Tier.SEMANTIC) == {Tier.SEMANTIC: (1, 0)}
    assert await house.ask(asking("What's a mutex?")) is None


async def test_an_answer_too_old_is_none(house: House) -> None:
    await house.keep(asking("What is a mutex?"))
    house.clock.forward(100)
    asked = asking("What's a mutex?")
    found = await house.cache.lookup(
        key_of(asked, SERVED), CacheControl(max_age=99), question_of(asked, SERVED)
    )
    assert found is None and house.cache.stats()[3].misses == 1


async def test_a_guards_refusal_is_counted(house: House) -> None:
    await house.keep(asking("Rename foo to bar."))
    assert await house.ask(asking("Rename bar to foo.")) is None
    assert house.semantic.refused == {"the order differs": 1}


async def test_a_failing_embedder_rests_and_a_person_hears_of_it_once() -> None:
    words = Words()
    house = House(words, LocalIndex())
    words.broken = True
    assert await house.keep(asking("What is a mutex?")), "the exact tiers go on"
    assert await house.ask(asking("What's a mutex?")) is None
    assert len(house.reports.messages) == 1 and "no embedder" in house.reports.messages[0]
    words.broken = False
    await house.keep(asking("What is a mutex?"))
    assert house.cache.stats()[3].entries == 0, "it rests"
    house.clock.forward(30)
    await house.keep(asking("What is a mutex?"))
    assert await house.ask(asking("What's a mutex?")) == "semantic: hello"
    assert len(house.reports.messages) == 2


async def test_a_search_that_hangs_counts_as_a_miss() -> None:
    async def hang(text: str) -> list[float]:
        await asyncio.Event().wait()
        return []

    reports, clock = Reports(), Clock()
    semantic = SemanticCache(
        CalledEmbedder("slow", hang),
        LocalIndex(),
        SemanticOptions(timeout_s=0.001),
        clock=clock,
        wall=clock,
        report=reports,
    )

    async def fetch(digest: bytes) -> None:
        raise AssertionError("there is nothing to fetch")

    assert await semantic.lookup(Question(b"", "What?"), fetch) is None
    assert "no answer in time" in reports.messages[0]


@pytest.mark.parametrize("threshold", [0.8, 0.9699, 1.01, float("nan")])
def test_a_low_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"0\.97"):
        SemanticOptions(threshold=threshold)


@pytest.mark.parametrize(
    "embedder", [Gullible(), Words(), WordLlamaEmbedder()], ids=lambda e: e.name
)
async def test_no_adversarial_pair_is_answered(embedder: Embedder) -> None:
    for pair in ADVERSARIAL:
        for one, other in (pair, pair[::-1]):
            house = House(embedder, LocalIndex())
            await house.keep(asking(one))
            assert await house.ask(asking(other)) is None, pair


async def test_the_docs_say_how_many_pairs_would_be_answered() -> None:
    """Fails when a figure changes: the docs must tell it."""
    house = House(WordLlamaEmbedder(), LocalIndex())
    await house.semantic.start()
    answered = 0
    for one, other in PARAPHRASES:
        await house.cache.flush()
        await house.keep(asking(one))
        answered += await house.ask(asking(other)) is not None
    embed = WordLlamaEmbedder().embed
    scores = [float(await embed(one) @ await embed(other)) for one, other in ADVERSARIAL]
    near = sum(score >= MIN_THRESHOLD for score in scores)
    docs = (Path(__file__).parents[3] / "docs" / "caches.md").read_text()
    assert f"{answered} of 100 true paraphrases" in docs
    assert f"`wordllama` alone, {near} of them" in docs


async def test_among_many_that_look_alike_the_right_one_answers() -> None:
    house = House(WordLlamaEmbedder(), LocalIndex())
    await house.semantic.start()
    questions = list(dict.fromkeys(text for pair in ADVERSARIAL for text in pair))
    for question in questions:
        await house.keep(asking(question), question)
    found = [await house.ask(asking(f"Hello! {question}")) for question in questions]
    assert all(
        answer in (None, f"semantic: {question}")
        for question, answer in zip(questions, found, strict=True)
    )
    assert len(questions) > 190 and found.count(None) < 10


# -------------------------------------------------------------------------- across a restart


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[list[PersistentTier]]:
    tiers: list[PersistentTier] = []
    yield tiers
    for tier in tiers:
        tier.close()


async def test_questions_outlive_the_process(tmp_path: Path, disk: list[PersistentTier]) -> None:
    async def house(embedder: str = "words") -> House:
        tier = PersistentTier(
            tmp_path / "r.sqlite",
            PersistentOptions(read_timeout_s=30.0),
            wall=Clock(),
            report=Reports(),
        )
        tier.start()
        disk.append(tier)
        house = House(Words(), LocalIndex(SqlitePoints(tier, embedder)))
        house.cache = ResponseCache(wall=house.clock, disk=tier, semantic=house.semantic)
        await house.semantic.start()
        return house

    one = await house()
    await one.keep(asking("What is a mutex?"))
    await one.keep(asking("What is a futex?"), "other")
    disk[0].close()
    two = await house()
    assert await two.ask(asking("What's a mutex?")) == "semantic: hello"
    other = await house("another model")
    assert await other.ask(asking("What's a mutex?")) is None, "vectors of another model"
    await disk[1].delete(key_of(asking("What is a mutex?"), SERVED).digest)
    assert await two.ask(asking("What's a mutex?")) is None
    three = await house()
    assert await three.ask(asking("What's a mutex?")) is None
    assert three.cache.stats()[3].entries == 1
    await three.cache.flush(Tier.SEMANTIC)
    assert (await house()).cache.stats()[3].entries == 0


async def test_a_qdrant_serves_as_well_and_sees_no_text() -> None:
    qdrant = FakeQdrant()
    house = House(Words(), QdrantIndex(qdrant.send))
    await house.semantic.start()
    await house.keep(asking("What is a mutex?"))
    assert await house.ask(asking("What's a mutex?")) == "semantic: hello"
    assert "mutex" not in str(qdrant.requests) and "hello" not in str(qdrant.requests)
    qdrant.down = True
    assert await house.ask(asking("Could you tell me what's a mutex?")) is None
    assert len(house.reports.messages) == 1


def test_an_embedder_has_a_name_for_its_vectors() -> None:
    assert WordLlamaEmbedder().name == "wordllama-256"
    assert CacheKey(bytes(32)).short == "0" * 16
