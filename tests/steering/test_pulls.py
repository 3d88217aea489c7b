"""Downloads from outside: told as they go, one at a time, and no hindrance to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyclaude.engine.catalog import Catalog
from anyclaude.errors import Conflict, InvalidRequest, Unavailable
from anyclaude.events import Bus, PullState, Subscription, SystemEvent
from anyclaude.steering.pulls import Pulls
from tests.doubles.hub import WANTED, Hub, serving_hub
from tests.steering.stage import Stage, staged

NAME = "org/tiny"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving_hub(monkeypatch) as hub:
        yield hub


def catalog(folder: Path, hub: Hub) -> Catalog:
    return Catalog(folder, folder / "hub", endpoint=hub.url)


def states(stage: Stage) -> list[PullState]:
    return [event for event in stage.heard if isinstance(event, PullState)]


async def end_of(heard: Subscription) -> PullState:
    """What the download comes to."""
    async for event in heard:
        if isinstance(event, PullState) and event.phase != "downloading":
            return event
    raise AssertionError("it never ends")


async def test_a_model_is_there_when_it_says_so(
    tmp_path: Path, embedded_model_dir: Path, hub: Hub
) -> None:
    there = catalog(tmp_path, hub)
    async with staged(tmp_path, embedded_model_dir, catalog=there) as stage:
        await stage.admin.pull_model(NAME)
        done = await stage.told(PullState, lambda state: state.phase != "downloading")
        assert done == PullState(NAME, "done", WANTED, WANTED, str(there.resolve(NAME)))
        first, *_ = states(stage)
        assert first == PullState(NAME, "downloading", detail="asking Hugging Face for org/tiny")
        arrived = [state.done_bytes for state in states(stage)]
        assert arrived == sorted(arrived)
        said = await stage.told(SystemEvent, lambda event: "downloaded" in event.message)
        assert said.message == "org/tiny was downloaded (0.0 GB)"
        assert NAME in [info.name for info in await stage.admin.models()]
        await stage.admin.pull_model(NAME)  # It is looked at again, and costs nothing.
        await stage.told(PullState, lambda state: state is not done and state.phase == "done")


async def test_one_at_a_time(tmp_path: Path, embedded_model_dir: Path, hub: Hub) -> None:
    hub.open.clear()
    async with staged(tmp_path, embedded_model_dir, catalog=catalog(tmp_path, hub)) as stage:
        await stage.admin.pull_model(NAME)
        assert await asyncio.to_thread(hub.half.wait, 30)
        with pytest.raises(Conflict, match="org/tiny is being downloaded; wait for its end"):
            await stage.admin.pull_model("org/other")
        hub.open.set()
        await stage.told(PullState, lambda state: state.phase == "done")
        await stage.admin.pull_model("org/absent")
        failed = await stage.told(PullState, lambda state: state.phase == "failed")
        assert (failed.name, failed.detail) == (
            "org/absent",
            "Hugging Face has no model org/absent, or not for you: set HF_TOKEN if so",
        )
        event = await stage.told(SystemEvent, lambda event: event.level == "error")
        assert event.message == f"downloading org/absent failed: {failed.detail}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny", "name: 'tiny' is not a Hugging Face name: write ORG/NAME"),
        ("org/..", r"steps out of its folder"),
        ("/etc/passwd", "is not a Hugging Face name"),
        ("./models/mine", "is not a Hugging Face name"),
        ("org/na\nme", "can't be the name of a model"),
    ],
)
async def test_what_is_no_name_is_refused_at_once(
    tmp_path: Path, hub: Hub, name: str, words: str
) -> None:
    bus = Bus()
    heard = bus.subscribe()
    pulls = Pulls(catalog(tmp_path, hub), bus)
    with pytest.raises(InvalidRequest, match=words):
        pulls.start(name)
    assert heard.drain() == []
    await pulls.close()
    with pytest.raises(Unavailable, match="stopping"):
        pulls.start(NAME)


async def test_an_end_ends_a_download_and_what_came_is_kept(
    tmp_path: Path, embedded_model_dir: Path, hub: Hub
) -> None:
    hub.open.clear()
    there = catalog(tmp_path, hub)
    async with staged(tmp_path, embedded_model_dir, catalog=there) as stage:
        await stage.admin.pull_model(NAME)
        assert await asyncio.to_thread(hub.half.wait, 30)
        heard = stage.runtime.bus.subscribe()
        async with asyncio.timeout(10):
            await stage.runtime.stop()
        ended = [event for event in heard.drain() if isinstance(event, PullState)]
        assert ended[-1].phase == "cancelled"
    hub.open.set()
    assert NAME not in [info.name for info in there.list()]
    bus = Bus()
    heard = bus.subscribe()
    pulls = Pulls(there, bus)
    pulls.start(NAME)
    assert (await end_of(heard)).phase == "done"
    await pulls.close()


async def test_a_download_that_is_told_to_end_stops_at_the_next_bytes(
    tmp_path: Path, hub: Hub
) -> None:
    hub.open.clear()
    bus = Bus()
    heard = bus.subscribe()
    pulls = Pulls(catalog(tmp_path, hub), bus)
    pulls.start(NAME)
    assert await asyncio.to_thread(hub.half.wait, 30)
    pull = pulls._running
    assert pull is not None
    pull.cancelled.set()
    hub.open.set()
    event = await end_of(heard)
    assert event == PullState(
        NAME,
        "cancelled",
        event.done_bytes,
        event.total_bytes,
        "what has arrived is kept for the next time",
    )
    await asyncio.to_thread(pull.join, 30)
    assert not pull.is_alive()
    await pulls.close()
