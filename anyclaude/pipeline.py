"""One request, top to bottom.

parse (server) → canonical form → route → echo → backend → segments → tool calls → events → row.

:class:`Pipeline` does what comes before the first byte, and raises; :class:`Exchange` does what
comes after, and ends in ``message_stop`` or one error event. Both are the same for a stream and
for a single answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from anyclaude.answer import Answer
from anyclaude.errors import AnyclaudeError, ApiError, EngineFailed
from anyclaude.events import (
    Bus,
    FirstToken,
    OutputDelta,
    PrefillProgress,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    SystemEvent,
    SystemKind,
    ToolCallSeen,
)
from anyclaude.keepalive import KeepAlive, KeepAliveTimes, ticking
from anyclaude.prompt.canonical import Canonical, canonicalise
from anyclaude.prompt.echo import EchoStore
from anyclaude.prompt.echo_match import working_directory
from anyclaude.prompt.roles import role_of
from anyclaude.recent import RecentDetails
from anyclaude.record import Recorder
from anyclaude.stream import Comment, Ping, StreamError, StreamEvent, message_of
from anyclaude.types import (
    Admission,
    Backend,
    BackendEvent,
    BackendRequest,
    ClientInfo,
    Delta,
    Finish,
    Generation,
    JsonValue,
    MessagesRequest,
    Prefill,
    RequestDetail,
    RequestRecord,
    Role,
    StoredMessage,
    ToolCallRecord,
)

log = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that hung up


class RecordSink(Protocol):
    """Where rows go; returning means they are durable."""

    async def record(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the server took it in: its id, when, from whom, and the raw JSON."""

    id: str
    started_at: float
    client: ClientInfo
    body: str


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Times in seconds; ``disabled_rules`` are canonical-form rules that stay off."""

    disabled_rules: frozenset[str]
    echo: bool
    bodies: bool
    times: KeepAliveTimes


class Pipeline:
    """Takes parsed requests to a backend and their answers back."""

    def __init__(
        self,
        backend: Backend,
        echo: EchoStore,
        sink: RecordSink,
        bus: Bus,
        recent: RecentDetails,
        options: PipelineOptions,
        *,
        new_id: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.backend = backend
        self.echo = echo
        self.sink = sink
        self.bus = bus
        self.recent = recent
        self.options = options
        self.new_id = new_id
        self.clock = clock
        self.wall = wall
        self.stopping = False
        self._running: dict[str, Exchange] = {}
        self._background: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------- before the first byte

    async def open(self, arrival: Arrival, request: MessagesRequest) -> Exchange:
        """Brings a request as far as a backend's admission.

        Raises :class:`ApiError` (invalid, too long, loading, full); the row is then written.
        """
        role = role_of(arrival.client, request)
        recorder = self._receive(arrival, request, role)
        try:
            canonical = canonicalise(request, self.options.disabled_rules)
            self._remember(arrival, canonical)
            backend, reason = self._route(canonical.request)
            job = await self._with_echoes(arrival, canonical.request, role)
            generation = await backend.open(job)
        except BaseException as error:
            await self._refuse(recorder, error)
            raise
        recorder.admitted(generation.admission, reason)
        exchange = Exchange(self, recorder, canonical, job, generation, reason)
        self._running[exchange.id] = exchange
        self._announce(exchange)
        return exchange

    async def count(self, arrival: Arrival, request: MessagesRequest) -> int:
        """Tokens of the prompt as :meth:`open` would send it; writes a row of role count."""
        recorder = self._receive(arrival, request, Role.COUNT)
        try:
            canonical = canonicalise(request, self.options.disabled_rules)
            backend, reason = self._route(canonical.request)
            job = await self._with_echoes(arrival, canonical.request, Role.COUNT)
            tokens = await backend.count(job)
        except BaseException as error:
            await self._refuse(recorder, error)
            raise
        await self.finish(recorder.counted(backend.name, reason, tokens))
        return tokens

    async def reject(
        self, arrival: Arrival, error: ApiError, *, streaming: bool = False, model: str = ""
    ) -> None:
        """Writes the row of a body that could not even be parsed."""
        recorder = Recorder(arrival.id, arrival.started_at, self.clock)
        recorder.set(model_requested=model, streaming=streaming)
        recorder.set(session_id=arrival.client.session_id)
        self.recent.put(RequestDetail(arrival.id, arrival.client.headers, arrival.body))
        await self._refuse(recorder, error)

    def _receive(self, arrival: Arrival, request: MessagesRequest, role: Role) -> Recorder:
        recorder = Recorder(arrival.id, arrival.started_at, self.clock)
        recorder.set(
            session_id=arrival.client.session_id,
            role=role.value,
            model_requested=request.model,
            streaming=request.stream,
            tool_count=len(request.tools),
        )
        self.bus.publish(
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

    def _remember(self, arrival: Arrival, canonical: Canonical) -> None:
        self.recent.put(
            RequestDetail(
                arrival.id, arrival.client.headers, arrival.body, canonical=canonical.applied
            )
        )

    def _route(self, request: MessagesRequest) -> tuple[Backend, str]:
        return self.backend, f"every model name is served by {self.backend.name}"

    async def _with_echoes(
        self, arrival: Arrival, request: MessagesRequest, role: Role
    ) -> BackendRequest:
        session = arrival.client.session_id
        job = BackendRequest(arrival.id, request, role, _conversation(arrival.client))
        if not self.options.echo:
            return job
        recalled = await self.echo.recall(
            self.backend.fingerprint, session, request.messages, cwd=working_directory(request)
        )
        for index in recalled.changed:
            self.event("echo", f"messages.{index} differs from what was generated", arrival.id)
        return replace(job, echoes=recalled.echoes)

    def _announce(self, exchange: Exchange) -> None:
        admission = exchange.admission
        detail = self.recent.get(exchange.id)
        if detail is not None:
            self.recent.put(replace(detail, prompt=admission.rendered_prompt))
        for note in admission.notes:
            self.event("input", note, exchange.id)
        self.bus.publish(
            RequestAdmitted(
                exchange.id,
                admission.backend,
                admission.model,
                exchange.route_reason,
                admission.usage.prompt_tokens,
                admission.usage.cache_read_tokens,
                admission.tier,
                admission.break_cause,
            )
        )

    # ------------------------------------------------------------------------------ the ending

    async def _refuse(self, recorder: Recorder, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            record = recorder.failed(CLIENT_CLOSED_REQUEST, "network", "the client hung up")
            self.spawn(self.finish(record))
            return
        await self.finish(recorder.refused(error))

    async def finish(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
    ) -> None:
        """Writes the row, then tells the bus. The last byte is sent after this."""
        await asyncio.shield(self.spawn(self._write(record, calls, messages)))

    async def _write(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord],
        messages: Sequence[StoredMessage],
    ) -> None:
        self._running.pop(record.id, None)
        await self.sink.record(record, calls, messages)
        self.bus.publish(RequestFinished(record))

    def event(self, kind: SystemKind, message: str, request_id: str | None = None) -> None:
        """Publishes something a person may want to look up."""
        self.bus.publish(SystemEvent(self.wall(), "info", kind, message, request_id))

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Runs ``work`` to its end even if the caller is being cancelled."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def settle(self) -> None:
        """Waits for rows that are still being written."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    async def cancel(self, request_id: str) -> bool:
        """Stops one running request; its client gets an error event."""
        exchange = self._running.get(request_id)
        if exchange is None:
            return False
        await exchange.interrupt(EngineFailed("the request was cancelled from the console"))
        return True


class Exchange:
    """One admitted request on its way out."""

    def __init__(
        self,
        pipeline: Pipeline,
        recorder: Recorder,
        canonical: Canonical,
        job: BackendRequest,
        generation: Generation,
        route_reason: str,
    ) -> None:
        self.id = recorder.id
        self.route_reason = route_reason
        self._pipeline = pipeline
        self._recorder = recorder
        self._canonical = canonical
        self._job = job
        self._generation = generation
        self._answer = Answer(self.id, canonical, generation.admission, pipeline.new_id)
        self._interrupted: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        self._done = False

    @property
    def admission(self) -> Admission:
        return self._generation.admission

    async def interrupt(self, error: ApiError) -> None:
        """Ends the answer with ``error`` as soon as the backend lets go."""
        if not self._interrupted.done():
            self._interrupted.set_result(error)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """The stream, complete in its grammar, keep-alives included.

        Closing it early stops the generation. The row is written before the last event.
        """
        run = self._run()
        try:
            async for event in run:
                yield event
        except ApiError as error:
            yield StreamError(error.type, error.message)
        finally:
            await run.aclose()

    async def message(self) -> dict[str, JsonValue]:
        """The answer as one body; raises :class:`ApiError` if it failed."""
        return message_of([event async for event in self._run()])

    async def _run(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            for event in self._answer.start():
                yield event
            yield Ping()
            keepalive = KeepAlive(self._pipeline.options.times, self._pipeline.clock)
            async for step in ticking(self._generation, keepalive, self._interrupted):
                for event in await self._on(step, keepalive):
                    yield event
        except AnyclaudeError as error:
            await self._finish_failed(error)
            raise
        finally:
            if not self._done:
                self._done = True
                self._pipeline.spawn(self._abandon())

    async def _on(self, step: BackendEvent | None, keepalive: KeepAlive) -> list[StreamEvent]:
        match step:
            case Prefill():
                self._pipeline.bus.publish(PrefillProgress(self.id, step.done, step.total))
                keepalive.progress(step.done, step.total)
                return []
            case Delta():
                events = self._delta(step)
                keepalive.sent(bool(events))
                return events
            case Finish():
                return await self._end(step)
            case None:
                return self._keep_alive(keepalive)

    def _delta(self, delta: Delta) -> list[StreamEvent]:
        pipeline, answer = self._pipeline, self._answer
        if self._recorder.first_token():
            pipeline.bus.publish(FirstToken(self.id, self._recorder.ttft_ms))
        pipeline.recent.add_output(self.id, delta.text)
        events = answer.feed(delta)
        pipeline.bus.publish(OutputDelta(self.id, answer.kind, delta.text, answer.tokens))
        self._publish_calls()
        return events

    def _keep_alive(self, keepalive: KeepAlive) -> list[StreamEvent]:
        due = keepalive.due()
        events: list[StreamEvent] = []
        if due.comment:
            events.append(Comment(due.comment))
        if due.ping:
            events.append(Ping())
        if due.empty_delta:
            events += self._answer.empty_delta()
        return events

    def _publish_calls(self) -> None:
        calls = self._answer.take_new_calls()
        self._pipeline.recent.add_calls(self.id, calls)
        for call in calls:
            self._pipeline.bus.publish(ToolCallSeen(self._pipeline.wall(), call))

    # ------------------------------------------------------------------------------- endings

    async def _end(self, finish: Finish) -> list[StreamEvent]:
        """The last events; the turn is remembered and its row written before they are sent."""
        answer, pipeline = self._answer, self._pipeline
        events = answer.finish(finish)
        self._publish_calls()
        if pipeline.options.echo and finish.tokens:
            await pipeline.echo.remember(
                pipeline.backend.fingerprint,
                self._recorder.session_id,
                self._canonical.request.messages,
                answer.content,
                finish.tokens,
            )
        messages: tuple[StoredMessage, ...] = ()
        if pipeline.options.bodies:
            loop = asyncio.get_running_loop()
            messages = await loop.run_in_executor(None, answer.messages)
        record = self._recorder.finished(finish, answer.stop_reason)
        self._done = True
        await pipeline.finish(record, answer.calls, messages)
        return events

    async def _finish_failed(self, error: AnyclaudeError) -> None:
        self._done = True
        await self._generation.cancel()
        await self._pipeline.finish(self._recorder.refused(error), self._answer.calls)

    async def _abandon(self) -> None:
        """The client left, or the server is going down: stop the work, keep the row."""
        await self._generation.cancel()
        reason = "anyclaude stopped" if self._pipeline.stopping else "the client hung up"
        record = self._recorder.failed(
            CLIENT_CLOSED_REQUEST, "network", reason, tokens=self._answer.tokens
        )
        await self._pipeline.finish(record, self._answer.calls)


def _conversation(client: ClientInfo) -> str:
    return f"{client.session_id}/{client.agent_id}" if client.agent_id else client.session_id
