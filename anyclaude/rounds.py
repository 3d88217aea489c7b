"""The rounds of one answer whose calls run here: calls, results, and the model again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anyclaude.answer import Pending
from anyclaude.backend import Finish, Generation, Resume
from anyclaude.errors import ApiError
from anyclaude.keepalive import KeepAlive
from anyclaude.prompt.canonical import Canonical
from anyclaude.prompt.server_calls import unroll
from anyclaude.server_tools import ServerCall, ServerResult, ServerTools, split_name
from anyclaude.tools.call_stream import CallStream
from anyclaude.types import Block, Message, MessagesRequest, Role, ToolDefinition, Usage

Ran = tuple[Pending, ServerResult]
_CONVERSING = frozenset({Role.MAIN, Role.SUBAGENT, Role.COMPACT})


@dataclass(frozen=True, slots=True)
class Round:
    """What is answered next, as an exchange needs it; see :class:`~anyclaude.exchange.Admitted`."""

    canonical: Canonical
    generation: Generation
    calls: CallStream
    reopen: Callable[[Resume], Awaitable[Generation]]


GoOn = Callable[[Sequence[Block], int, int], Awaitable[Round]]
"""Has the model go on after the blocks so far, in that round, with so many tokens at most."""


class Rounds:
    """Runs calls and has the model go on, ``limit`` times at most.

    ``names`` are the tools whose calls run here.
    """

    def __init__(
        self,
        request_id: str,
        names: frozenset[str],
        tools: ServerTools,
        go_on: GoOn,
        limit: int,
    ) -> None:
        self.names = names
        self.number = 1
        self._request_id = request_id
        self._tools = tools
        self._go_on = go_on
        self._limit = limit
        self._finishes: list[Finish] = []

    @property
    def over(self) -> bool:
        """Whether no more calls run in this answer."""
        return self.number > self._limit

    async def run(
        self,
        calls: Sequence[Pending],
        keepalive: KeepAlive,
        interrupted: asyncio.Future[ApiError],
    ) -> AsyncGenerator[Ran | None, None]:
        """Each call with its result as it comes, and ``None`` when a keep-alive is due.

        All run at the same time. Closing it early cancels them; raises what ``interrupted`` holds.
        """
        running = {asyncio.ensure_future(self._run(call)): call for call in calls}
        try:
            while running:
                waiting: set[asyncio.Future[Any]] = {*running, interrupted}
                done, _ = await asyncio.wait(
                    waiting, timeout=keepalive.wait(), return_when=asyncio.FIRST_COMPLETED
                )
                if interrupted in done:
                    raise interrupted.result()
                if not done:
                    yield None
                for task in [task for task in running if task in done]:
                    yield running.pop(task), task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, pending: Pending) -> ServerResult:
        if pending.fault:
            return ServerResult(pending.fault, True)
        if self.over:
            return ServerResult(
                f"The call was not run: one answer may have {self._limit} rounds of calls"
                " (tools.mcp_rounds).",
                True,
            )
        use = pending.use
        server, tool = split_name(use.name)
        return await self._tools.call(
            ServerCall(self._request_id, use.id, server, tool, use.input, self.number)
        )

    async def next(
        self, rolled: Sequence[Block], finish: Finish, max_tokens: int, keepalive: KeepAlive
    ) -> AsyncGenerator[Round | None, None]:
        """The next round, after the one that ended in ``finish``, and ``None`` before it when a
        keep-alive is due: it may have to wait for its turn. Raises :class:`ApiError`."""
        opening = asyncio.ensure_future(self._go_on(rolled, self.number + 1, max_tokens))
        try:
            while not (await asyncio.wait({opening}, timeout=keepalive.wait()))[0]:
                yield None
        except BaseException:
            opening.cancel()
            (opened,) = await asyncio.gather(opening, return_exceptions=True)
            if isinstance(opened, Round):
                await opened.generation.cancel()
            raise
        following = opening.result()
        self.number += 1
        self._finishes.append(finish)
        yield following

    def together(self, finish: Finish) -> Finish:
        """The end of all rounds, the last of which is ``finish``.

        What was written in earlier rounds is read again in later ones, and counted once: as
        written. So prompt and output add up to the conversation's true length.
        """
        if not self._finishes:
            return finish
        every = [*self._finishes, finish]
        written = sum(one.usage.output_tokens for one in self._finishes)
        return replace(
            finish,
            usage=_less_read(finish.usage, written),
            tokens=(),
            queue_ms=sum(one.queue_ms for one in every),
            prefill_ms=sum(one.prefill_ms for one in every),
            decode_ms=sum(one.decode_ms for one in every),
            time_saved_ms=sum(one.time_saved_ms for one in every),
        )


async def offered(
    tools: ServerTools | None, conversation: str, request: MessagesRequest, role: Role
) -> tuple[ToolDefinition, ...]:
    """Tools that run here, for a conversation whose client has tools itself.

    Counted too is only a whole prompt: the client counts its parts one by one.
    """
    if tools is None or not may_offer(request, role):
        return ()
    return await tools.offer(conversation, {tool.name for tool in request.tools})


def may_offer(request: MessagesRequest, role: Role) -> bool:
    """Whether the request is one of a conversation whose client has tools."""
    whole = role in _CONVERSING or (role is Role.COUNT and bool(request.system))
    return bool(request.tools) and whole


def with_server_tools(canonical: Canonical, ours: Sequence[ToolDefinition]) -> Canonical:
    """The request with tools that run here after the client's own.

    One that must call a tool may call the client's alone: else it would have to call ours for ever.
    """
    if not ours:
        return canonical
    request = replace(canonical.request, tools=(*canonical.request.tools, *ours))
    free = request.tool_choice.mode == "auto"
    callable_tools = (*canonical.callable_tools, *(ours if free else ()))
    return replace(canonical, request=request, callable_tools=callable_tools)


def continued(canonical: Canonical, rolled: Sequence[Block], max_tokens: int) -> Canonical:
    """The request for the round after the blocks ``rolled``, which end in results."""
    turned = unroll(rolled)
    request = canonical.request
    messages = (*request.messages, *turned.turns, Message("user", turned.results))
    return replace(canonical, request=replace(request, messages=messages, max_tokens=max_tokens))


def _less_read(usage: Usage, written: int) -> Usage:
    """Tokens of the answer's own taken from what was read, as far as it was, and put to output."""
    cached = min(written, usage.cache_read_tokens)
    fresh = min(written - cached, usage.input_tokens)
    return replace(
        usage,
        cache_read_tokens=usage.cache_read_tokens - cached,
        input_tokens=usage.input_tokens - fresh,
        output_tokens=usage.output_tokens + written,
    )
