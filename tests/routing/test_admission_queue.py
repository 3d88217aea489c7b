"""Turns, ranks and aging, refusals, and clients that leave the queue."""

from __future__ import annotations

import asyncio
import random

import pytest

from anyclaude.bench.simulated_time import run_simulated
from anyclaude.errors import Overloaded
from anyclaude.routing.queue import AdmissionQueue, rank_of
from anyclaude.types import Role
from tests.routing.routing_kit import HandClock


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_without_a_limit_nobody_waits() -> None:
    async def work() -> None:
        queue = AdmissionQueue("a", 0, 0, HandClock())
        slots = [await queue.acquire() for _ in range(1_000)]
        assert (queue.in_flight, queue.waiting, queue.full) == (1_000, 0, False)
        assert queue.wait_seconds() == 0
        for slot in slots:
            slot.release()
        assert queue.in_flight == 0

    run_simulated(work())


def test_turns_are_by_rank_then_by_arrival() -> None:
    async def work() -> None:
        clock = HandClock()
        queue, order = AdmissionQueue("a", 1, 64, clock), list[str]()
        first = await queue.acquire()

        async def one(name: str, rank: int) -> None:
            slot = await queue.acquire(rank)
            order.append(name)
            slot.release()

        tasks = []
        for name, rank in (("t1", 2), ("m1", 0), ("s1", 1), ("m2", 0), ("t2", 2), ("s2", 1)):
            tasks.append(asyncio.create_task(one(name, rank)))
            await settle()
        assert queue.waiting == 6
        first.release()
        first.release()
        await asyncio.gather(*tasks)
        assert order == ["m1", "m2", "s1", "s2", "t1", "t2"]
        assert (queue.in_flight, queue.waiting) == (0, 0)

    run_simulated(work())


def test_who_has_waited_long_enough_overtakes_a_rank() -> None:
    async def work() -> None:
        clock = HandClock()
        queue, order = AdmissionQueue("a", 1, 64, clock, aging_s=20), list[str]()
        first = await queue.acquire()

        async def one(name: str, rank: int) -> None:
            slot = await queue.acquire(rank)
            order.append(f"{name} after {slot.waited:g}")
            slot.release()

        tasks = [asyncio.create_task(one("title", 2))]
        await settle()
        clock.tick(39)
        tasks.append(asyncio.create_task(one("early main", 0)))
        await settle()
        clock.tick(2)
        tasks.append(asyncio.create_task(one("late main", 0)))
        await settle()
        first.release()
        await asyncio.gather(*tasks)
        assert order == ["early main after 2", "title after 41", "late main after 0"]

    run_simulated(work())


def test_a_newcomer_doesnt_take_the_place_of_one_who_waits() -> None:
    async def work() -> None:
        queue, order = AdmissionQueue("a", 1, 64, HandClock()), list[str]()
        first = await queue.acquire()

        async def one(name: str) -> None:
            slot = await queue.acquire()
            order.append(name)
            await asyncio.sleep(1)
            slot.release()

        waiting = asyncio.create_task(one("waited"))
        await settle()
        first.release()
        await asyncio.gather(waiting, one("newcomer"))
        assert order == ["waited", "newcomer"]

    run_simulated(work())


def test_too_many_are_refused_with_the_time_it_takes() -> None:
    async def work() -> None:
        seconds: list[float | None] = [None]
        queue = AdmissionQueue("near", 2, 3, HandClock(), lambda: seconds[0])
        held = [await queue.acquire(), await queue.acquire()]
        waiting = [asyncio.create_task(queue.acquire()) for _ in range(3)]
        await settle()
        assert queue.full
        with pytest.raises(Overloaded) as caught:
            await queue.acquire()
        assert caught.value.retry_after == 20  # two rounds of ten seconds, as nothing is known
        seconds[0] = 4.0
        with pytest.raises(Overloaded) as caught:
            await queue.acquire()
        assert caught.value.message == (
            "backend near is full: 2 requests at work and 3 wait; try again in about 8 s"
        )
        seconds[0] = 1e6
        with pytest.raises(Overloaded) as caught:
            await queue.acquire()
        assert caught.value.retry_after == 60
        seconds[0] = 0.001
        with pytest.raises(Overloaded) as caught:
            await queue.acquire()
        assert caught.value.retry_after == 1
        for slot in held:
            slot.release()
        for task in waiting:
            (await task).release()
        assert (queue.in_flight, queue.waiting, queue.full) == (0, 0, False)

    run_simulated(work())


def test_none_may_wait() -> None:
    async def work() -> None:
        queue = AdmissionQueue("near", 1, 0, HandClock())
        slot = await queue.acquire()
        with pytest.raises(Overloaded, match="1 requests at work and none may wait"):
            await queue.acquire()
        slot.release()
        (await queue.acquire()).release()

    run_simulated(work())


def test_who_leaves_the_queue_is_out_of_it() -> None:
    async def work() -> None:
        queue = AdmissionQueue("a", 1, 64, HandClock())
        first = await queue.acquire()
        stays, leaves = (asyncio.create_task(queue.acquire()) for _ in range(2))
        await settle()
        leaves.cancel()
        await settle()
        assert queue.waiting == 1
        first.release()
        (await stays).release()
        assert queue.in_flight == 0

    run_simulated(work())


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_turn_that_comes_as_its_client_leaves_goes_on_to_the_next(
    cancelled_first: bool,
) -> None:
    async def work() -> None:
        queue = AdmissionQueue("a", 1, 64, HandClock())
        first = await queue.acquire()
        leaves, stays = (asyncio.create_task(queue.acquire()) for _ in range(2))
        await settle()
        # Both in one step of the loop, before the task that waits can run.
        if cancelled_first:
            leaves.cancel()
            first.release()
        else:
            first.release()
            leaves.cancel()
        await asyncio.wait([leaves])
        assert leaves.cancelled()
        (await stays).release()
        assert (queue.in_flight, queue.waiting) == (0, 0)

    run_simulated(work())


@pytest.mark.parametrize("seed", range(8))
def test_a_crowd_that_comes_works_and_leaves_at_random(seed: int) -> None:
    async def work() -> None:
        loop, rng = asyncio.get_running_loop(), random.Random(seed)
        limit = rng.randint(1, 5)
        queue = AdmissionQueue("a", limit, 40, loop.time)
        at_work, most, done, refused = 0, 0, 0, 0

        async def one(rank: int, arrives: float, works: float) -> None:
            nonlocal at_work, most, done, refused
            await asyncio.sleep(arrives)
            try:
                slot = await queue.acquire(rank)
            except Overloaded:
                refused += 1
                return
            at_work += 1
            most = max(most, at_work)
            try:
                await asyncio.sleep(works)
                done += 1
            finally:
                at_work -= 1
                slot.release()

        async def impatient(task: asyncio.Task[None], leaves: float) -> None:
            await asyncio.sleep(leaves)
            task.cancel()
            await asyncio.wait([task])

        tasks, watchers = list[asyncio.Task[None]](), list[asyncio.Task[None]]()
        for _ in range(400):
            task = asyncio.create_task(
                one(rng.randint(0, 2), rng.uniform(0, 60), rng.uniform(0, 2))
            )
            tasks.append(task)
            if rng.random() < 0.4:
                watchers.append(asyncio.create_task(impatient(task, rng.uniform(0, 70))))
        await asyncio.gather(*tasks, *watchers, return_exceptions=True)
        cancelled = sum(task.cancelled() for task in tasks)
        assert done + refused + cancelled == 400
        assert most == limit
        assert (queue.in_flight, queue.waiting) == (0, 0)
        assert done > 50

    run_simulated(work())


def test_nobody_starves() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        queue, waited = AdmissionQueue("a", 1, 1_000, loop.time, aging_s=20), list[float]()

        async def one(rank: int) -> None:
            slot = await queue.acquire(rank)
            if rank:
                waited.append(slot.waited)
            await asyncio.sleep(1)
            slot.release()

        tasks = [asyncio.create_task(one(0))]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(one(2)))
        for _ in range(200):  # As many urgent ones as there is time for, for ever.
            tasks.append(asyncio.create_task(one(0)))
            await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        assert waited == [pytest.approx(41, abs=2)]

    run_simulated(work())


def test_every_role_has_a_rank() -> None:
    ranks = {role: rank_of(role) for role in Role}
    assert ranks[Role.MAIN] == 0
    assert ranks[Role.MAIN] < ranks[Role.SUBAGENT] < ranks[Role.TITLE]
