"""What the log and the console are told of a request up to its answer's first byte."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from anyclaude.arrival import Arrival
from anyclaude.backend import Admission
from anyclaude.events import RequestAdmitted, RequestReceived
from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import Canonical
from anyclaude.record import Recorder
from anyclaude.records import PromptSection, RequestDetail, ToolVersion
from anyclaude.tools.watch import Taken, ToolWatch, transformed
from anyclaude.types import MessagesRequest, Role


class Answered(Protocol):
    """A request that somebody has begun to answer."""

    @property
    def id(self) -> str: ...

    @property
    def admission(self) -> Admission: ...

    @property
    def route_reason(self) -> str: ...


class Announcer:
    """One for all requests: it knows which tools were told of already."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._watch = ToolWatch()

    @property
    def tools(self) -> tuple[ToolVersion, ...]:
        """Every version of a tool that was offered since the start, by name and number."""
        return self._watch.registry.tools

    def received(self, arrival: Arrival, request: MessagesRequest, role: Role) -> Recorder:
        recorder = Recorder(arrival.id, arrival.started_at, self._ledger.clock)
        recorder.set(
            session_id=arrival.client.session_id,
            role=role.value,
            model_requested=request.model,
            streaming=request.stream,
            tool_count=len(request.tools),
            key_name=arrival.key_name,
        )
        self._ledger.publish(
            RequestReceived(
                arrival.id,
                arrival.started_at,
                arrival.client.session_id,
                role.value,
                request.model,
                request.stream,
                len(request.tools),
            )
        )
        return recorder

    def tools_seen(self, arrival: Arrival, request: MessagesRequest) -> None:
        """Notes tools that changed, and calls that the client answered with an error."""
        if arrival.replay_of:
            return
        now = self._ledger.wall()
        for event in self._watch.received(request, arrival.id, arrival.conversation, now):
            self._ledger.publish(event)

    def tools_taken(self, arrival: Arrival, canonical: Canonical, admission: Admission) -> None:
        """Tells, once for each version of a tool, what prompt and grammar have of it."""
        if arrival.replay_of:
            return
        header = {tool.name for tool in canonical.request.tools}
        taken = Taken(
            admission.model,
            canonical.callable_tools,
            canonical.request.tool_choice,
            # Deferred tools don't go through the template: they are shown whole where they load.
            lambda tool: admission.hidden(tool) if tool.name in header else (),
            admission.dialect if admission.constrained else None,
        )
        untold = self._watch.untold(taken, arrival.conversation)
        if not untold:
            return
        now = self._ledger.wall()

        async def tell() -> None:
            for event in await asyncio.to_thread(transformed, untold, taken, arrival.id, now):
                self._ledger.publish(event)

        self._ledger.spawn(tell())

    def canonical(self, arrival: Arrival, canonical: Canonical) -> None:
        self._ledger.recent.put(
            RequestDetail(
                arrival.id, arrival.client.headers, arrival.body, canonical=canonical.applied
            )
        )

    def shaped(self, arrival: Arrival, sections: tuple[PromptSection, ...]) -> None:
        """Keeps for the inspector what became of the parts of the prompt."""
        detail = self._ledger.recent.get(arrival.id)
        if detail is not None and sections:
            self._ledger.recent.put(replace(detail, sections=sections))

    def admitted(self, exchange: Answered, canonical: Canonical, echo: str) -> None:
        admission = exchange.admission
        detail = self._ledger.recent.get(exchange.id)
        if detail is not None and admission.rendered_prompt:
            written = admission.dialect.name if admission.dialect is not None else ""
            self._ledger.recent.put(
                replace(
                    detail,
                    prompt=admission.rendered_prompt,
                    dialect=written,
                    thinking=admission.thinking,
                )
            )
        for note in admission.notes:
            self._ledger.event("input", note, exchange.id)
        self._ledger.publish(
            RequestAdmitted(
                exchange.id,
                admission.backend,
                admission.model,
                exchange.route_reason,
                admission.usage.prompt_tokens,
                admission.usage.cache_read_tokens,
                admission.tier,
                admission.miss.cause.value,
                canonical.applied,
                echo,
                admission.miss,
                admission.from_disk,
            )
        )
