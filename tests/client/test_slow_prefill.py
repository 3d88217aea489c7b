"""A prefill that takes longer than any timeout of the real client still ends in an answer.

No clock slows the model: every attempt of the client lets a few chunks of the prompt through and
then nothing more, so that it can't get its answer, however long it waits. The client's limits on
a stream can't be set below 300 s, so its streams are cut for it, once it has waited in vain; its
limit on a whole answer can, and there it hangs up by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from anyclaude.config.settings import PerformanceSettings
from anyclaude.events import RequestAdmitted, RequestReceived
from tests.client.conftest import WINDOW, Stage, staged
from tests.client.relay import Relay, relayed

pytestmark = pytest.mark.client

CHUNK = 512
STEPS = 5
"""Passes of the model that an attempt gets; the client's prompt takes over twenty."""
CUT_STREAMS = 2
IMPATIENT = {"API_TIMEOUT_MS": "3000", "CLAUDE_CODE_MAX_RETRIES": "20"}


@pytest.fixture
async def stage(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path
) -> AsyncGenerator[Stage, None]:
    """Chunks of a size that is known, so that the attempts can be counted."""
    chunks = PerformanceSettings(prefill_chunk=CHUNK)
    async with staged(claude_path, embedded_model_dir, tmp_path, WINDOW, chunks) as stage:
        yield stage


@dataclass
class Attempts:
    """Feeds and frustrates the client's attempts; ``reads`` is what each found in the cache."""

    stage: Stage
    relay: Relay
    streamed: list[bool] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    prompts: set[int] = field(default_factory=set)

    async def watch(self) -> None:
        async for event in self.stage.runtime.bus.subscribe():
            if isinstance(event, RequestReceived):
                self.streamed.append(event.streaming)
            elif isinstance(event, RequestAdmitted):
                self.reads.append(event.cache_read_tokens)
                self.prompts.add(event.prompt_tokens)
                if event.cache_read_tokens >= event.prompt_tokens - CHUNK:
                    self.stage.gate.open.set()  # All was read: this attempt may have its answer.
                    return
                self.stage.gate.open.admit(STEPS)
                if self.streamed[-1]:
                    await self._disappoint(event.id)

    async def _disappoint(self, request_id: str) -> None:
        """Once the model stands still, the stream ends without an answer."""
        waiting = self.stage.gate.open.waiting
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, waiting.wait, 60)
        if sum(self.streamed) <= CUT_STREAMS:
            self.relay.cut()
        else:
            await self.stage.runtime.control.cancel(request_id)


async def test_every_attempt_begins_where_the_last_one_ended(stage: Stage) -> None:
    stage.playbook.scenes["slow"] = ["At last."]
    stage.gate.open.clear()
    async with relayed(stage.runtime.address) as relay:
        attempts = Attempts(stage, relay)
        watching = asyncio.ensure_future(attempts.watch())
        extra = {**IMPATIENT, "ANTHROPIC_BASE_URL": relay.address}
        reply = await stage.claude_run("SCENARIO:slow answer", extra=extra)
        watching.cancel()
    assert reply.code == 0, (reply.out, reply.stderr)
    assert reply.text == "At last."
    (prompt,) = attempts.prompts
    told = list(zip(attempts.streamed, attempts.reads, strict=True))
    assert attempts.streamed.count(True) > CUT_STREAMS, told
    assert attempts.streamed.count(False) >= 2, told
    assert attempts.reads == sorted(attempts.reads), told
    assert len(told) > prompt // (STEPS * CHUNK), told
    assert stage.gate.prefill_tokens <= prompt + CHUNK, "nothing was computed twice"
    rows = await stage.rows("select status from requests order by started_at")
    assert rows[-1] == (200,)
    assert all(status != 200 for (status,) in rows[:-1])
