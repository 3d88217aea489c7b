"""One request, top to bottom.

parse (server) → canonical form → route → echo → backend → segments → tool calls → events → row.

:class:`Pipeline` does what comes before the first byte, and raises;
:class:`~anyclaude.exchange.Exchange` does what comes after, and ends in ``message_stop`` or one
error event. Both are the same for a stream and for a single answer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from anyclaude.backend import Admission, Backend, BackendRequest, Generation, Resume
from anyclaude.errors import ApiError, EngineFailed
from anyclaude.events import RequestAdmitted, RequestReceived
from anyclaude.exchange import CLIENT_CLOSED_REQUEST, Admitted, Exchange, ExchangeOptions
from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import Canonical, canonicalise
from anyclaude.prompt.echo import EchoStore
from anyclaude.prompt.echo_match import working_directory
from anyclaude.prompt.roles import role_of
from anyclaude.record import Recorder
from anyclaude.records import RequestDetail
from anyclaude.tools.desk import ToolDesk, ToolOptions
from anyclaude.tools.examples import with_examples
from anyclaude.tools.watch import Taken, ToolWatch, transformed
from anyclaude.types import ClientInfo, MessagesRequest, Role


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the server took it in: its id, when, from whom, and the raw JSON.

    ``replay_of`` is the request that is run again, without a client: what it tells of the client
    is known already, and its answer will never come back.
    """

    id: str
    started_at: float
    client: ClientInfo
    body: str
    replay_of: str = ""


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """``disabled_rules`` are canonical-form rules that stay off."""

    disabled_rules: frozenset[str]
    exchange: ExchangeOptions
    tools: ToolOptions


class Pipeline:
    """Takes parsed requests to a backend and their answers back."""

    def __init__(
        self,
        backend: Backend,
        echo: EchoStore,
        ledger: Ledger,
        options: PipelineOptions,
        new_id: Callable[[str], str],
    ) -> None:
        self._backend = backend
        self._echo = echo
        self._ledger = ledger
        self._desk = ToolDesk(options.tools)
        self._watch = ToolWatch()
        self._options = options
        self._disabled = options.disabled_rules
        self._new_id = new_id
        self._running: dict[str, Exchange] = {}

    @property
    def disabled_rules(self) -> frozenset[str]:
        """The canonical-form rules that are off now."""
        return self._disabled

    def set_rule(self, name: str, on: bool) -> None:
        """Turns a rule on or off for the requests that come; ``name`` is one of the rules'."""
        self._disabled = self._disabled - {name} if on else self._disabled | {name}

    # ------------------------------------------------------------------- before the first byte

    async def open(self, arrival: Arrival, request: MessagesRequest) -> Exchange:
        """Brings a request as far as a backend's admission.

        Raises :class:`ApiError` (invalid, too long, loading, full); the row is then written.
        """
        role = role_of(arrival.client, request)
        request = with_examples(request)
        recorder = self._receive(arrival, request, role)
        self._watch_tools(arrival, request)
        try:
            canonical = canonicalise(request, self._disabled)
            self._remember(arrival, canonical)
            backend, reason = self._route(canonical.request)
            if arrival.replay_of:
                reason = f"{reason}; a replay of {arrival.replay_of}"
            job = await self._with_echoes(arrival, canonical, role)
            generation = await backend.open(job)
        except BaseException as error:
            await self._refuse(recorder, error)
            raise
        recorder.admitted(generation.admission, reason)
        self._trace_tools(arrival, canonical, generation.admission)
        calls = self._desk.calls(arrival.id, canonical.callable_tools, self._new_id)
        admitted = Admitted(
            canonical,
            generation,
            recorder,
            reason,
            backend.fingerprint,
            calls,
            _reopening(backend, job),
        )
        exchange = self._exchange(admitted, echo=not arrival.replay_of)
        self._announce(exchange, canonical, job)
        return exchange

    def _exchange(self, admitted: Admitted, *, echo: bool) -> Exchange:
        options = self._options.exchange
        exchange = Exchange(
            admitted,
            self._ledger,
            self._echo,
            options if echo else replace(options, echo=False),
            self._new_id,
            self._forget,
        )
        self._running[exchange.id] = exchange
        return exchange

    def _forget(self, request_id: str) -> None:
        self._running.pop(request_id, None)

    async def count(self, arrival: Arrival, request: MessagesRequest) -> int:
        """Tokens of the prompt as :meth:`open` would send it; writes a row of role count."""
        recorder = self._receive(arrival, request, Role.COUNT)
        try:
            canonical = canonicalise(with_examples(request), self._disabled)
            backend, reason = self._route(canonical.request)
            job = await self._with_echoes(arrival, canonical, Role.COUNT)
            tokens = await backend.count(job)
        except BaseException as error:
            await self._refuse(recorder, error)
            raise
        await self._ledger.finish(recorder.counted(backend.name, reason, tokens))
        return tokens

    async def reject(
        self, arrival: Arrival, error: ApiError, *, streaming: bool = False, model: str = ""
    ) -> None:
        """Writes the row of a body that could not even be parsed."""
        recorder = Recorder(arrival.id, arrival.started_at, self._ledger.clock)
        recorder.set(model_requested=model, streaming=streaming)
        recorder.set(session_id=arrival.client.session_id)
        self._ledger.recent.put(RequestDetail(arrival.id, arrival.client.headers, arrival.body))
        await self._refuse(recorder, error)

    def _receive(self, arrival: Arrival, request: MessagesRequest, role: Role) -> Recorder:
        recorder = Recorder(arrival.id, arrival.started_at, self._ledger.clock)
        recorder.set(
            session_id=arrival.client.session_id,
            role=role.value,
            model_requested=request.model,
            streaming=request.stream,
            tool_count=len(request.tools),
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

    def _watch_tools(self, arrival: Arrival, request: MessagesRequest) -> None:
        """Notes tools that changed, and calls that the client answered with an error."""
        if arrival.replay_of:
            return
        now = self._ledger.wall()
        for event in self._watch.received(request, arrival.id, _conversation(arrival.client), now):
            self._ledger.publish(event)

    def _trace_tools(self, arrival: Arrival, canonical: Canonical, admission: Admission) -> None:
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
        untold = self._watch.untold(taken, _conversation(arrival.client))
        if not untold:
            return
        now = self._ledger.wall()

        async def tell() -> None:
            for event in await asyncio.to_thread(transformed, untold, taken, arrival.id, now):
                self._ledger.publish(event)

        self._ledger.spawn(tell())

    def _remember(self, arrival: Arrival, canonical: Canonical) -> None:
        self._ledger.recent.put(
            RequestDetail(
                arrival.id, arrival.client.headers, arrival.body, canonical=canonical.applied
            )
        )

    def _route(self, request: MessagesRequest) -> tuple[Backend, str]:
        return self._backend, f"every model name is served by {self._backend.name}"

    async def _with_echoes(
        self, arrival: Arrival, canonical: Canonical, role: Role
    ) -> BackendRequest:
        session, request = arrival.client.session_id, canonical.request
        job = BackendRequest(
            arrival.id,
            request,
            role,
            # A replay is none of its session's turns, for whoever compares or keeps those.
            "" if arrival.replay_of else _conversation(arrival.client),
            callable_tools=canonical.callable_tools,
        )
        if not self._options.exchange.echo:
            return job
        recalled = await self._echo.recall(
            self._backend.fingerprint, session, request.messages, cwd=working_directory(request)
        )
        if recalled.newest == "changed":
            index = recalled.changed[-1]
            self._ledger.event(
                "echo", f"messages.{index} differs from what was generated", arrival.id
            )
        return replace(job, echoes=recalled.echoes, echo_fate=recalled.newest)

    def _announce(self, exchange: Exchange, canonical: Canonical, job: BackendRequest) -> None:
        admission = exchange.admission
        detail = self._ledger.recent.get(exchange.id)
        if detail is not None:
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
                job.echo_fate or "",
                admission.miss,
                admission.from_disk,
            )
        )

    # ------------------------------------------------------------------------------ the ending

    async def _refuse(self, recorder: Recorder, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            record = recorder.failed(CLIENT_CLOSED_REQUEST, "network", self._ledger.why_left)
            self._ledger.spawn(self._ledger.finish(record))
            return
        await self._ledger.finish(recorder.refused(error))

    async def cancel(self, request_id: str) -> bool:
        """Stops one running request; its client gets an error event."""
        exchange = self._running.get(request_id)
        if exchange is None:
            return False
        await exchange.interrupt(EngineFailed("the request was cancelled from the console"))
        return True


def _conversation(client: ClientInfo) -> str:
    return f"{client.session_id}/{client.agent_id}" if client.agent_id else client.session_id


def _reopening(backend: Backend, job: BackendRequest) -> Callable[[Resume], Awaitable[Generation]]:
    """Has the backend go on with an answer to the same request, under a name of its own."""
    count = itertools.count(2)

    async def reopen(resume: Resume) -> Generation:
        return await backend.open(replace(job, id=f"{job.id}.{next(count)}", resume=resume))

    return reopen
