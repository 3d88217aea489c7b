"""A model's account of notes: asked for without tools, bounded, without its reasoning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from anyclaude.backend import (
    Admission,
    BackendEvent,
    BackendRequest,
    Delta,
    Finish,
    FinishReason,
    Parsed,
)
from anyclaude.dialect import TextPiece, ThinkingEnd, ThinkingPiece
from anyclaude.errors import EngineFailed
from anyclaude.prompt.retell import Notes, clipped, retold
from anyclaude.types import Role, ThinkingMarkers, Usage

NOTES = Notes("req_1.sum1", "m", "- user: The port is 6447.", 120, 40)
MARKERS = ThinkingMarkers("<think>", "</think>")


@dataclass
class Teller:
    """A backend that says what it is given, and then waits for ever if it has no end."""

    events: Sequence[BackendEvent]
    thinking: ThinkingMarkers | None = None
    name: str = "teller"
    fingerprint: str = "f"
    asked: list[BackendRequest] = field(default_factory=list)
    cancelled: int = 0
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def admission(self) -> Admission:
        return Admission(self.name, "m", Usage(9), None, thinking=self.thinking)

    async def open(self, request: BackendRequest) -> Teller:
        self.asked.append(request)
        return self

    async def count(self, request: BackendRequest) -> int:
        return 9

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        for event in self.events:
            yield event
            if isinstance(event, Finish):
                return
        self.waits.set()
        await asyncio.Event().wait()

    async def cancel(self) -> None:
        self.cancelled += 1


def end(reason: FinishReason = "stop") -> Finish:
    return Finish(reason, Usage(9, output_tokens=3))


async def test_it_is_asked_for_words_alone_as_a_small_call_of_nobodys_session() -> None:
    teller = Teller([Delta("The port ", 2), Delta("is 6447.", 3), end()])
    assert await retold(teller, NOTES) == "The port is 6447."
    (job,) = teller.asked
    assert (job.role, job.session_id, job.id, job.model) == (Role.TITLE, "", "req_1.sum1", "m")
    request = job.request
    assert (request.max_tokens, request.tools, request.sampling.temperature) == (40, (), 0.0)
    assert request.thinking is not None and not request.thinking.enabled
    assert NOTES.text in request.messages[0].content[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "markers", "told"),
    [
        ("<think>Hm. </think>\n\nIt is so.", MARKERS, "It is so."),
        ("Hm. </think>It is so.", replace(MARKERS, opened=True), "It is so."),
        ("It is so.", MARKERS, "It is so."),
        ("<think>It is so.", None, "<think>It is so."),
    ],
)
async def test_reasoning_is_no_part_of_it(
    said: str, markers: ThinkingMarkers | None, told: str
) -> None:
    assert await retold(Teller([Delta(said, 5), end()], markers), NOTES) == told


async def test_segments_of_a_backend_that_parses_itself() -> None:
    segments = (ThinkingPiece("Hm."), ThinkingEnd(), TextPiece("It is so."))
    assert await retold(Teller([Parsed(segments, "", 3), end()]), NOTES) == "It is so."


@pytest.mark.parametrize("said", ["", "  \n ", "<think>for ever", "x" * 121])
async def test_nothing_said_is_a_failure(said: str) -> None:
    with pytest.raises(EngineFailed, match="said nothing of its notes"):
        await retold(Teller([Delta(said, 1), end()], MARKERS), NOTES)


async def test_what_broke_off_is_told_up_to_its_last_sentence() -> None:
    teller = Teller([Delta("One. Two. And thr", 5), end("length")])
    assert await retold(teller, NOTES) == "One.\nTwo."


async def test_who_stops_waiting_stops_the_model() -> None:
    teller = Teller([Delta("One. ", 1)])
    waiting = asyncio.ensure_future(retold(teller, NOTES))
    await asyncio.wait_for(teller.waits.wait(), 10)
    assert teller.cancelled == 0
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert teller.cancelled == 1


def test_sentences_that_have_room() -> None:
    assert clipped("One.  Two\nthree.\n\nFour.", 100) == "One.\nTwo\nthree.\nFour."
    assert clipped("One. Two.", 8) == "One."
    assert clipped("One. Two.", 9) == "One.\nTwo."
    assert clipped("One. Two", 9, whole=False) == "One."
    assert clipped("One. Two", 9) == "One.\nTwo"
    assert clipped("", 9) == ""
