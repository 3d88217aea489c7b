"""Every kind of index, held to one account of what an index does."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.caches.semantic.embed import CalledEmbedder, Vector, unit
from anyclaude.caches.semantic.index import LIMIT, LocalIndex, Point, VectorIndex
from anyclaude.caches.semantic.qdrant import QdrantAnswer, QdrantIndex, QdrantLocal
from anyclaude.types import JsonObject, JsonValue
from tests.doubles.qdrant import FakeQdrant

HERE, THERE = b"here" * 8, b"there..." * 4


def digest(number: int) -> bytes:
    return number.to_bytes(16, "big") + bytes(16)


def at(degrees: float) -> Vector:
    radians = np.deg2rad(degrees)
    return unit([float(np.cos(radians)), float(np.sin(radians)), 0.0])


@pytest.fixture(params=["local", "qdrant", "qdrant-client"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorIndex]:
    if request.param == "local":
        yield LocalIndex()
    elif request.param == "qdrant":
        yield QdrantIndex(FakeQdrant().send)
    else:
        local = QdrantLocal(tmp_path / "qdrant")
        yield local
        await local.close()


async def test_the_nearest_of_its_context_come_first(index: VectorIndex) -> None:
    await index.start()
    assert await index.search(HERE, at(0), 0.5) == [] and await index.count() == 0
    for number, degrees in enumerate((40.0, 5.0, 20.0, 90.0)):
        await index.add(Point(digest(number), HERE, at(degrees)))
    await index.add(Point(digest(9), THERE, at(0)))
    found = await index.search(HERE, at(0), 0.7)
    assert [near.digest for near in found] == [digest(1), digest(2), digest(0)]
    assert found[0].score == pytest.approx(np.cos(np.deg2rad(5)), abs=1e-4)
    assert [near.digest for near in await index.search(THERE, at(0), 0.7)] == [digest(9)]
    assert await index.count() == 5


async def test_a_point_is_moved_removed_and_forgotten(index: VectorIndex) -> None:
    await index.add(Point(digest(1), HERE, at(0)))
    await index.add(Point(digest(1), THERE, at(90)))
    assert await index.search(HERE, at(0), 0.5) == [] and await index.count() == 1
    await index.add(Point(digest(2), HERE, at(0)))
    await index.remove(digest(1))
    await index.remove(digest(77))
    assert await index.search(THERE, at(90), 0.5) == []
    assert await index.clear() == 1
    assert await index.search(HERE, at(0), 0.5) == [] and await index.count() == 0
    await index.add(Point(digest(3), HERE, at(0)))
    assert len(await index.search(HERE, at(0), 0.9)) == 1


async def test_only_the_best_few_are_returned(index: VectorIndex) -> None:
    for number in range(LIMIT + 4):
        await index.add(Point(digest(number), HERE, at(number)))
    found = await index.search(HERE, at(0), 0.5)
    assert [near.digest for near in found] == [digest(number) for number in range(LIMIT)]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([HERE, THERE]), st.floats(0, 360)), max_size=40
    )
)
async def test_a_matrix_that_grows_and_shrinks_finds_what_a_list_would(
    points: list[tuple[int, bytes, float]],
) -> None:
    index, held = LocalIndex(max_entries=6), dict[int, tuple[bytes, float]]()
    for number, context, degrees in points:
        held.pop(number, None)
        if len(held) == 6:
            del held[next(iter(held))]
        held[number] = (context, degrees)
        await index.add(Point(digest(number), context, at(degrees)))
        found = {near.digest for near in await index.search(HERE, at(0), -1.0)}
        assert found == {digest(n) for n, (where, _) in held.items() if where == HERE}
    assert await index.count() == len(held)


async def test_vectors_of_another_size_are_not_mixed_up() -> None:
    index = LocalIndex()
    await index.add(Point(digest(1), HERE, at(0)))
    await index.add(Point(digest(2), HERE, unit([1.0, 0.0])))
    assert await index.count() == 1
    assert await index.search(HERE, unit([1.0, 0.0]), 0.1) == []


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [float("nan")], [float("inf"), 1.0]])
async def test_what_is_no_vector_is_refused(values: list[float]) -> None:
    async def call(text: str) -> list[float]:
        return values

    with pytest.raises(ValueError, match="no vector"):
        await CalledEmbedder("called", call).embed("text")


# ------------------------------------------------------------------------------------- Qdrant


async def test_a_collection_that_goes_away_is_made_again() -> None:
    qdrant = FakeQdrant()
    index = QdrantIndex(qdrant.send, "a/b c")
    await index.add(Point(digest(1), HERE, at(0)))
    assert list(qdrant.collections) == ["a/b c"]
    qdrant.collections.clear()
    assert await index.search(HERE, at(0), 0.5) == []
    await index.add(Point(digest(1), HERE, at(0)))
    assert await index.count() == 1
    qdrant.collections.clear()
    await index.remove(digest(1))
    assert await index.clear() == 0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"result": None},
        {"result": {"points": "none"}},
        {"result": {"points": [{"score": 1.0}]}},
        {"result": {"points": [{"score": "1", "payload": {"digest": "00"}}]}},
        {"result": {"points": [{"score": 1.0, "payload": {"digest": "xx"}}]}},
    ],
)
async def test_nonsense_from_a_server_is_an_error_of_its_own(answer: JsonValue) -> None:
    async def send(method: str, path: str, body: JsonObject | None) -> JsonValue:
        return answer

    with pytest.raises(QdrantAnswer):
        await QdrantIndex(send).search(HERE, at(0), 0.5)
    with pytest.raises(QdrantAnswer):
        await QdrantIndex(send).count()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_client_librarys_index_outlives_the_process(tmp_path: Path) -> None:
    one = QdrantLocal(tmp_path / "qdrant")
    await one.add(Point(digest(1), HERE, at(0)))
    two = QdrantLocal(tmp_path / "qdrant")
    with pytest.raises(QdrantAnswer):
        await two.count()
    gc.collect()  # The library leaves the lock file open that it couldn't lock.
    await one.close()
    assert await two.count() == 1
    await two.close()
