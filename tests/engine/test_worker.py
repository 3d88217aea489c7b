"""What the MLX thread does between its steps, without starting it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from anyclaude.engine.load import LoadedModel
from anyclaude.engine.serving import Limits
from anyclaude.engine.worker import Worker

LIMITS = Limits(
    prefill_chunk=64, stream_chunk=1, max_running=2, cache_bytes=1 << 20, cache_enabled=True
)


def nothing_loads(name: str, progress: Callable[[float, str], None]) -> LoadedModel:
    raise AssertionError("no model is wanted")


def test_requests_on_their_way_are_taken_before_the_first_pass_and_no_others() -> None:
    on_their_way, taken = [2], []
    worker = Worker(
        nothing_loads, LIMITS, cast(Any, None), expected=lambda: on_their_way[0]
    )  # fmt: skip

    def arrive(name: str) -> None:
        taken.append(name)
        on_their_way[0] -= 1

    for name in ("one", "two", "later"):
        worker._commands.put(lambda name=name: arrive(name))  # type: ignore[misc]
    worker._gather()
    assert taken == ["one", "two"], "what nobody announced can wait for the step"
    on_their_way[0] = 2
    worker._gather()
    assert taken == ["one", "two", "later"], "and who doesn't come is not waited for long"
