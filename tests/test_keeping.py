"""Answers that are owed, and when an answer that was taken down is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.caches.response.cache import Hit, ResponseCache
from anyclaude.caches.response.control import NotCached
from anyclaude.caches.response.key import Served
from anyclaude.caches.response.memory import MemoryTier
from anyclaude.events import Bus
from anyclaude.keeping import MAX_OWED, MAX_RAW_BYTES, OWED_S, Answers, Keep, RawKeep, Wanted
from anyclaude.ledger import Ledger
from anyclaude.recent import RecentDetails
from anyclaude.stream import Emitter, StreamEvent
from anyclaude.types import Message, MessagesRequest, Sampling, TextBlock, Usage
from anyclaude.ways import Way
from tests.test_pipeline import Sink


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.ledger = Ledger(Sink(), Bus(), RecentDetails(), clock=self.clock, wall=self.clock)
        cache = ResponseCache(wall=self.clock, memory=MemoryTier(self.clock))
        self.answers = Answers(self.ledger, cache)

    async def hit(self, wanted: Wanted) -> Hit | None:
        return (await self.answers.look(wanted)).hit

    async def keep(self, wanted: Wanted) -> Keep:
        looked = await self.answers.look(wanted)
        assert looked.hit is None and looked.keep is not None
        return looked.keep


@pytest.fixture
def rig() -> Rig:
    return Rig()


def wanted(text: str = "hi", *, session: str = "s", **sampling: float) -> Wanted:
    request = MessagesRequest(
        "m", 10, (Message("user", (TextBlock(text),)),),
        sampling=Sampling(**sampling),  # type: ignore[arg-type]
    )  # fmt: skip
    return Wanted(request, (), Way(Served("b", "m"), False), (), b"{}", "", session)


def answer() -> list[StreamEvent]:
    emitter = Emitter("msg_1", "m")
    usage = Usage(5, output_tokens=2)
    return [
        *emitter.start(usage), *emitter.text("Hello"), *emitter.finish("end_turn", None, usage)
    ]  # fmt: skip


HOT = wanted(temperature=1.0)


async def test_an_answer_whose_client_went_away_is_owed_once(rig: Rig) -> None:
    keep = await rig.keep(HOT)
    keep.add(answer())
    keep.ended(1.0)
    assert await rig.hit(HOT) is None, "its client may still be reading"
    keep.unread()
    assert await rig.hit(replace(HOT, session="another")) is None
    assert await rig.hit(wanted("other", temperature=1.0)) is None
    hit = await rig.hit(HOT)
    assert hit is not None and hit.entry.usage == Usage(5, output_tokens=2)
    assert await rig.hit(HOT) is None, "two never share one"


async def test_it_is_not_owed_for_ever_nor_in_any_number(rig: Rig) -> None:
    for at in range(MAX_OWED + 1):
        keep = await rig.keep(wanted(str(at), temperature=1.0))
        keep.add(answer())
        keep.ended(1.0)
        keep.unread()
    assert await rig.hit(wanted("0", temperature=1.0)) is None, "the oldest made room"
    assert await rig.hit(wanted("1", temperature=1.0)) is not None
    rig.clock.now += OWED_S
    assert await rig.hit(wanted("2", temperature=1.0)) is None
    assert rig.answers.forget_owed() == MAX_OWED - 2
    with pytest.raises(NotCached):
        headers = (("cache-control", "only-if-cached"),)
        await rig.answers.look(replace(HOT, headers=headers))


async def test_half_an_answer_is_neither_kept_nor_owed(rig: Rig) -> None:
    for request in (HOT, wanted()):
        keep = await rig.keep(request)
        keep.add(answer()[:-1])
        keep.ended(1.0)
        keep.unread()
        await rig.ledger.settle()
        assert await rig.hit(request) is None


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.0}, {"temperature": 1.0, "top_k": 1}])
async def test_what_is_not_sampled_is_kept_at_once(rig: Rig, sampling: dict[str, float]) -> None:
    request = wanted(**sampling)
    keep = await rig.keep(request)
    keep.add(answer())
    keep.ended(1.5)
    await rig.ledger.settle()
    hit = await rig.hit(request)
    assert hit is not None and hit.entry.seconds == 1.5


async def test_one_that_is_not_valid_any_more_is_not_kept(rig: Rig) -> None:
    keep = await rig.keep(wanted())
    keep.valid = lambda: False
    keep.add(answer())
    keep.ended(1.0)
    await rig.ledger.settle()
    assert await rig.hit(wanted()) is None


def test_a_relayed_answer_without_end_is_let_go() -> None:
    kept: list[object] = []
    keep = RawKeep(Keep("k", Clock(), whole=kept.append), streams=True)
    keep.add(bytes(MAX_RAW_BYTES))
    keep.add(b"x")
    keep.ended(1.0, Usage())
    assert kept == []
