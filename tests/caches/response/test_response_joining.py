"""Identical requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.caches.response.joining import Flights, Seat

KEY = b"k"


async def settle() -> None:
    """Lets every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


class Work:
    """One request: takes a seat, waits for an answer, or makes one when it is told to."""

    def __init__(self, flights: Flights[str], key: bytes = KEY, deterministic: bool = True) -> None:
        self.go: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.led = False
        self.seat: Seat[str] | None = None
        self.task = asyncio.create_task(self._run(flights, key, deterministic))

    async def _run(self, flights: Flights[str], key: bytes, deterministic: bool) -> str:
        with flights.board(key, deterministic=deterministic) as seat:
            self.seat = seat
            answer = await seat.answer()
            if answer is not None:
                return f"copy of {answer}"
            self.led = True
            made = await self.go
            seat.land(made)
            return made


async def test_the_others_get_what_the_first_lands() -> None:
    flights: Flights[str] = Flights()
    one, two, three = Work(flights), Work(flights), Work(flights)
    await settle()
    assert (one.led, two.led, three.led, len(flights)) == (True, False, False, 1)
    one.go.set_result("a")
    assert await asyncio.gather(one.task, two.task, three.task) == ["a", "copy of a", "copy of a"]
    assert len(flights) == 0


async def test_other_keys_have_flights_of_their_own() -> None:
    flights: Flights[str] = Flights()
    one, two = Work(flights), Work(flights, b"other")
    await settle()
    assert one.led and two.led and len(flights) == 2
    one.go.set_result("a")
    two.go.set_result("b")
    assert await asyncio.gather(one.task, two.task) == ["a", "b"]


async def test_after_the_landing_comes_a_new_flight() -> None:
    flights: Flights[str] = Flights()
    one = Work(flights)
    await settle()
    one.go.set_result("a")
    await one.task
    two = Work(flights)
    await settle()
    assert two.led
    two.go.set_result("b")
    assert await two.task == "b"


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_exactly_one_takes_over_when_the_first(how: str) -> None:
    flights: Flights[str] = Flights()
    one, two, three = Work(flights), Work(flights), Work(flights)
    await settle()
    if how == "fails":
        one.go.set_exception(OSError("gone"))
    else:
        one.task.cancel()
    await settle()
    assert one.task.done() and (two.led, three.led) == (True, False)
    two.go.set_result("b")
    assert await asyncio.gather(two.task, three.task) == ["b", "copy of b"]
    with pytest.raises(OSError if how == "fails" else asyncio.CancelledError):
        await one.task
    assert len(flights) == 0


async def test_a_follower_that_leaves_takes_nothing_along() -> None:
    flights: Flights[str] = Flights()
    one, two, three = Work(flights), Work(flights), Work(flights)
    await settle()
    two.task.cancel()
    await settle()
    one.go.set_result("a")
    assert await asyncio.gather(one.task, three.task) == ["a", "copy of a"]
    assert two.task.cancelled()


async def test_one_that_is_cancelled_as_it_takes_over_passes_the_lead_on() -> None:
    flights: Flights[str] = Flights()
    one, two, three = Work(flights), Work(flights), Work(flights)
    await settle()
    one.go.set_exception(OSError("gone"))
    two.task.cancel()
    await settle()
    assert two.task.cancelled() and not two.led and three.led
    three.go.set_result("c")
    assert await three.task == "c"
    assert len(flights) == 0 and isinstance(one.task.exception(), OSError)


async def test_an_answer_that_lands_as_its_follower_is_cancelled_harms_nobody() -> None:
    flights: Flights[str] = Flights()
    one, two, three = Work(flights), Work(flights), Work(flights)
    await settle()
    two.task.cancel()
    one.go.set_result("a")
    assert await asyncio.gather(one.task, three.task) == ["a", "copy of a"]
    assert two.task.cancelled() and len(flights) == 0


async def test_live_sampled_requests_never_share() -> None:
    flights: Flights[str] = Flights()
    one, two = Work(flights, deterministic=False), Work(flights, deterministic=False)
    await settle()
    assert one.led and two.led
    one.go.set_result("a")
    two.go.set_result("b")
    assert await asyncio.gather(one.task, two.task) == ["a", "b"]
    assert len(flights) == 0


async def test_one_sampled_request_may_have_the_answer_of_one_whose_client_has_gone() -> None:
    flights: Flights[str] = Flights()
    one = Work(flights, deterministic=False)
    await settle()
    assert one.seat is not None and not one.seat.followed
    one.seat.orphan()
    two, three = Work(flights, deterministic=False), Work(flights, deterministic=False)
    await settle()
    assert not two.led and three.led and one.seat.followed
    one.go.set_result("a")
    three.go.set_result("c")
    assert await asyncio.gather(two.task, three.task) == ["copy of a", "c"]
    await one.task


async def test_the_heir_of_a_sampled_request_is_no_orphan() -> None:
    flights: Flights[str] = Flights()
    one = Work(flights, deterministic=False)
    await settle()
    assert one.seat is not None
    one.seat.orphan()
    two = Work(flights, deterministic=False)
    await settle()
    one.task.cancel()
    await settle()
    three = Work(flights, deterministic=False)
    await settle()
    assert two.led and three.led
    two.go.set_result("b")
    three.go.set_result("c")
    assert await asyncio.gather(two.task, three.task) == ["b", "c"]


async def test_only_the_leader_lands() -> None:
    flights: Flights[str] = Flights()
    with flights.board(KEY, deterministic=True) as leader:
        with flights.board(KEY, deterministic=True) as follower:
            assert leader.leads and not follower.leads
            with pytest.raises(RuntimeError):
                follower.land("x")
            leader.land("a")
            with pytest.raises(RuntimeError):
                leader.land("b")
            assert await follower.answer() == "a"
            leader.leave()
    assert len(flights) == 0


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from("blcfo"), st.integers(0, 5)), max_size=40), st.booleans())
def test_whatever_happens_nobody_is_forgotten(steps: list[Step], deterministic: bool) -> None:
    """b: a request comes; l: one lands; c: is cancelled; f: fails; o: loses its client."""
    asyncio.run(_play(steps, deterministic))


async def _play(steps: list[Step], deterministic: bool) -> None:
    flights: Flights[str] = Flights()
    works: list[Work] = []

    async def land(work: Work) -> None:
        if work.led and not work.go.done():
            work.go.set_result(f"answer {works.index(work)}")

    async def fail(work: Work) -> None:
        if work.led and not work.go.done():
            work.go.set_exception(OSError("gone"))

    async def cancel(work: Work) -> None:
        work.task.cancel()

    async def orphan(work: Work) -> None:
        if work.seat is not None:
            work.seat.orphan()

    actions: dict[str, Callable[[Work], Awaitable[None]]] = {
        "l": land, "f": fail, "c": cancel, "o": orphan,
    }  # fmt: skip
    for what, number in steps:
        if what == "b" or not works:
            works.append(Work(flights, deterministic=deterministic))
        else:
            await actions[what](works[number % len(works)])
        if number % 2:
            await settle()
            leaders = [w for w in works if w.led and not w.task.done()]
            if deterministic:
                assert len(leaders) == len(flights) <= 1
    for _ in range(len(works) + 1):
        await settle()
        for work in works:
            await land(work)
    results = await asyncio.gather(*(work.task for work in works), return_exceptions=True)
    assert len(flights) == 0
    copies = [r for r in results if isinstance(r, str) and r.startswith("copy")]
    if not deterministic:
        assert len(copies) == len(set(copies)), "two sampled requests have one answer"
