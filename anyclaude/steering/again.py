"""Requests of the log once more: run again, or their output read again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from anyclaude.answer import Answer
from anyclaude.arrival import Arrival
from anyclaude.backend import Admission, Delta
from anyclaude.dialect import Dialect
from anyclaude.errors import AnyclaudeError, InvalidRequest, NotFound, Unavailable
from anyclaude.ids import new_id
from anyclaude.pipeline import Pipeline
from anyclaude.prompt.canonical import canonicalise
from anyclaude.records import RequestDetail, ToolCallRecord
from anyclaude.relaying import Relay
from anyclaude.server.messages import client_of
from anyclaude.server.schema import ParseResult, parse_messages
from anyclaude.steering.kept import KeptRequests
from anyclaude.tools.call_stream import OnInvalid
from anyclaude.tools.desk import ToolDesk, ToolOptions
from anyclaude.tools.examples import with_examples
from anyclaude.tools.families import FAMILIES
from anyclaude.types import MessagesRequest, Usage

log = logging.getLogger(__name__)

PIECE = 4096
"""Characters of an output that are read before the event loop has its turn."""


@dataclass(slots=True)
class Replays:
    """Runs requests again, each as a request of its own, and nobody reads the answers."""

    kept: KeptRequests
    pipeline: Pipeline
    wall: Callable[[], float]
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def begin(self, request_id: str, model: str = "") -> tuple[str, tuple[str, ...]]:
        """The id of the new request, and what was mended in its body.

        Raises :class:`NotFound` when the body isn't kept, :class:`InvalidRequest` when it can't
        be run.
        """
        detail = await self.kept.with_body(request_id)
        parsed = await asyncio.to_thread(_parsed, detail, model)
        client = client_of(detail.headers)
        arrival = Arrival(new_id("req_"), self.wall(), client, parsed.body, request_id)
        task = asyncio.ensure_future(self._run(arrival, parsed.request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return arrival.id, parsed.notes

    async def _run(self, arrival: Arrival, request: MessagesRequest) -> None:
        """To the end; what goes wrong stands in the row."""
        try:
            exchange = await self.pipeline.open(arrival, request)
            if isinstance(exchange, Relay):
                async for _ in exchange.body():
                    pass
                return
            if not request.stream:
                await exchange.message()
                return
            async for _ in exchange.events():
                pass
        except AnyclaudeError:
            pass
        except Exception:
            log.exception("the replay %s failed", arrival.id)

    async def close(self) -> None:
        """Ends those under way."""
        tasks = tuple(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _parsed(detail: RequestDetail, model: str = "") -> ParseResult:
    body = detail.body
    try:
        if model:
            body = json.dumps({**json.loads(body), "model": model}, ensure_ascii=False)
        return parse_messages(body.encode("utf-8", "replace"), None)
    except (InvalidRequest, ValueError, TypeError) as error:
        raise InvalidRequest(f"the body of {detail.id} can't be run: {error}") from error


async def read_again(
    detail: RequestDetail,
    disabled_rules: frozenset[str],
    present: Dialect | None,
    on_invalid: OnInvalid,
) -> tuple[ToolCallRecord, ...]:
    """The calls in a request's output as they are read and repaired today, without the model.

    A call that is the same text as one on record has its ids and figures. An answer that was
    taken up again for a broken call has both of its halves in the output, so the call shows as
    it was first written. ``present`` is the dialect where the record names none. Raises
    :class:`NotFound` when nothing was written, or it isn't kept.
    """
    if not detail.output:
        raise NotFound(f"{detail.id} has no output to read: the model wrote nothing, or it is gone")
    dialect = FAMILIES.get(detail.dialect, present)
    if dialect is None:
        raise Unavailable(
            f"the record of {detail.id} doesn't name the dialect of its model; load that model"
        )
    parsed = await asyncio.to_thread(_parsed, detail)
    request = await asyncio.to_thread(with_examples, parsed.request)
    canonical = await asyncio.to_thread(canonicalise, request, disabled_rules)
    options = ToolOptions(stream=False, regenerate=False, on_invalid=on_invalid)
    calls = ToolDesk(options).calls(detail.id, canonical.callable_tools, new_id)
    admission = Admission("", "", Usage(), None, dialect=dialect, thinking=detail.thinking)
    answer = Answer(canonical, admission, calls, new_id, time.monotonic)
    answer.hold_calls()
    answer.start()
    for at in range(0, len(detail.output), PIECE):
        await answer.feed(Delta(detail.output[at : at + PIECE], 1))
        await asyncio.sleep(0)
    await answer.drain()
    return tuple(_numbered(answer.calls, detail.tool_calls))


def _numbered(
    calls: Sequence[ToolCallRecord], before: Sequence[ToolCallRecord]
) -> Iterable[ToolCallRecord]:
    """The calls with what is on record of the same texts; nothing else has an id or a time."""
    known = {call.raw: call for call in reversed(before)}
    for call in calls:
        same = known.get(call.raw)
        if same is None:
            yield replace(call, tool_use_id="", tokens=0, ms=0.0)
        else:
            yield replace(call, tool_use_id=same.tool_use_id, tokens=same.tokens, ms=same.ms)
