"""The tools that run here and what is only named, for one request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from anyclaude.arrival import Arrival
from anyclaude.events import McpCall
from anyclaude.ledger import Ledger
from anyclaude.prompt.deferring import SERVER, loader_for, told
from anyclaude.prompting import Prompter
from anyclaude.rounds import may_offer, offered
from anyclaude.server_tools import LOGGED, ServerCall, ServerResult, ServerTools
from anyclaude.types import MessagesRequest, Role, ToolDefinition


@dataclass(frozen=True, slots=True)
class Offer:
    """``tools`` stand behind the client's, and ``runner`` runs their calls."""

    tools: tuple[ToolDefinition, ...] = ()
    runner: ServerTools | None = None


async def offer_for(
    servers: ServerTools | None,
    prompter: Prompter,
    arrival: Arrival,
    request: MessagesRequest,
    role: Role,
) -> Offer:
    """What the model is offered beside the request's own tools: the same in every turn."""
    tools = await offered(servers, arrival.conversation, request, role)
    if not may_offer(request, role):
        return Offer()
    deferred = prompter.deferred((*request.tools, *tools))
    if not deferred:
        return Offer(tools, servers)
    return Offer((*tools, loader_for(deferred)), Loader(servers, deferred, prompter.ledger))


class Loader:
    """See :class:`anyclaude.server_tools.ServerTools`: tells of tools that are only named, and
    leaves everything else to ``servers``."""

    def __init__(
        self, servers: ServerTools | None, deferred: Sequence[ToolDefinition], ledger: Ledger
    ) -> None:
        self._servers = servers
        self._deferred = deferred
        self._ledger = ledger

    async def offer(self, conversation: str, taken: Collection[str]) -> tuple[ToolDefinition, ...]:
        return (loader_for(self._deferred),)

    async def call(self, call: ServerCall) -> ServerResult:
        if call.server != SERVER and self._servers is not None:
            return await self._servers.call(call)
        text, failed = told(self._deferred, call.arguments)
        record = call.begun()
        self._ledger.publish(McpCall(self._ledger.wall(), record))
        ended = replace(
            record, status="error" if failed else "ok", result=text[:LOGGED], chars=len(text)
        )
        self._ledger.publish(McpCall(self._ledger.wall(), ended))
        return ServerResult(text, failed)
