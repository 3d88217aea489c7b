"""One admitted request on its way out: the backend's events become the client's.

Everything here is after the first byte: it ends in ``message_stop`` or one error event, and in
one row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from anyclaude.answer import Answer
from anyclaude.backend import (
    Admission,
    BackendEvent,
    Delta,
    Finish,
    Generation,
    Parsed,
    Prefill,
    Resume,
)
from anyclaude.errors import AnyclaudeError, ApiError
from anyclaude.events import FirstToken, OutputDelta, PrefillProgress, ToolCallSeen
from anyclaude.keepalive import KeepAlive, KeepAliveTimes, ticking
from anyclaude.keeping import Keep
from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import Canonical
from anyclaude.prompt.echo import EchoStore
from anyclaude.record import Recorder
from anyclaude.records import RequestRecord, StoredMessage, ToolCallRecord
from anyclaude.rounds import Round, Rounds
from anyclaude.stream import Comment, MessageBuilder, Ping, StreamError, StreamEvent
from anyclaude.tools.call_stream import CallStream
from anyclaude.types import JsonValue

CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that hung up
_SHORT_CHARS = 16 * 1024


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request as the pipeline hands it over. ``fingerprint`` is the model's that took it.

    ``reopen`` has its answer go on from text that the model is to have written. ``keep`` takes
    the answer down for the same request. ``rounds`` run its calls that run here.
    """

    canonical: Canonical
    generation: Generation
    recorder: Recorder
    route_reason: str
    fingerprint: str
    calls: CallStream
    reopen: Callable[[Resume], Awaitable[Generation]]
    keep: Keep | None = None
    rounds: Rounds | None = None


class StreamNotes(Protocol):
    """Takes down one stream; it neither waits nor raises."""

    def add(self, event: StreamEvent) -> None: ...

    def close(self) -> None: ...


class StreamSink(Protocol):
    """Where streams are taken down as they are sent."""

    def begin(self, request_id: str, elapsed_ms: Callable[[], float]) -> StreamNotes: ...


@dataclass(frozen=True, slots=True)
class ExchangeOptions:
    """``echo`` keeps generated turns, ``bodies`` stores messages in the log."""

    echo: bool
    bodies: bool
    times: KeepAliveTimes
    streams: StreamSink | None = None


class Exchange:
    """One request from its admission to its row."""

    def __init__(
        self,
        admitted: Admitted,
        ledger: Ledger,
        echo: EchoStore,
        options: ExchangeOptions,
        new_id: Callable[[str], str],
        ended: Callable[[str], None],
    ) -> None:
        self.id = admitted.recorder.id
        self.route_reason = admitted.route_reason
        self._canonical = admitted.canonical
        self._generation = admitted.generation
        self._fingerprint = admitted.fingerprint
        self._recorder = admitted.recorder
        self._ledger = ledger
        self._echo = echo
        self._options = options
        self._ended = ended
        self._reopen = admitted.reopen
        self._admitted = self._admission = admitted.generation.admission
        self._rounds = admitted.rounds
        self._answer = Answer(
            self._canonical,
            self._admission,
            admitted.calls,
            new_id,
            ledger.clock,
            self._rounds.names if self._rounds is not None else (),
        )
        self._interrupted: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        self._built = MessageBuilder()
        self._keep = admitted.keep
        self.cache_note = f"key={self._keep.key}" if self._keep is not None else ""
        self._finish_kept: Finish | None = None
        """The end of an answer whose last call is to be written anew."""
        self._round_ended: Finish | None = None
        """The end of a round whose calls are to run here."""
        self._done = False

    @property
    def admission(self) -> Admission:
        return self._admitted

    @property
    def so_far(self) -> RequestRecord:
        """The row as it stands now."""
        return self._recorder.so_far

    async def interrupt(self, error: ApiError) -> None:
        """Ends the answer with ``error`` as soon as the backend lets go."""
        if not self._interrupted.done():
            self._interrupted.set_result(error)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """The stream, complete in its grammar, keep-alives included.

        Closing it early stops the generation. The row is with the log before the last event, and
        on disk if the answer was made here.
        """
        run = self._run()
        streams = self._options.streams
        notes = streams.begin(self.id, lambda: self._recorder.elapsed_ms) if streams else None
        read = False
        try:
            async for event in run:
                if notes is not None:
                    notes.add(event)
                yield event
            read = True
        except ApiError as error:
            failure = StreamError(error.type, error.message)
            if notes is not None:
                notes.add(failure)
            yield failure
        finally:
            if notes is not None:
                notes.close()
            if self._keep is not None and not read:
                self._keep.unread()
            await run.aclose()

    async def message(self) -> dict[str, JsonValue]:
        """The answer as one body; raises :class:`ApiError` if it failed."""
        self._answer.hold_calls()
        async for _ in self._run():
            pass
        return self._built.message()

    async def _run(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            for event in self._building(self._answer.start()):
                yield event
            yield Ping()
            keepalive = KeepAlive(self._options.times, self._ledger.clock)
            while not self._done:
                steps = ticking(self._generation, keepalive, self._interrupted)
                async with aclosing(steps):
                    async for step in steps:
                        for event in await self._on(step, keepalive):
                            yield event
                        if self._answer.resume is not None:
                            break
                if self._answer.resume is not None:
                    for event in await self._write_again(self._answer.resume):
                        yield event
                if self._round_ended is not None and self._rounds is not None:
                    serving = self._serve(self._rounds, self._round_ended, keepalive)
                    async with aclosing(serving):
                        async for event in serving:
                            yield event
        except Exception as error:
            await self._finish_failed(error)
            raise
        finally:
            if not self._done:
                self._done = True
                self._ledger.spawn(self._abandon())

    async def _on(self, step: BackendEvent | None, keepalive: KeepAlive) -> list[StreamEvent]:
        match step:
            case Prefill():
                self._ledger.publish(PrefillProgress(self.id, step.done, step.total))
                keepalive.progress(step.done, step.total)
                return []
            case Delta() | Parsed():
                events = await self._delta(step)
                keepalive.sent(bool(events))
                return events
            case Finish():
                return await self._end(step)
            case None:
                return self._keep_alive(keepalive)

    async def _delta(self, delta: Delta | Parsed) -> list[StreamEvent]:
        ledger, answer = self._ledger, self._answer
        if self._recorder.first_token():
            ledger.publish(FirstToken(self.id, self._recorder.ttft_ms))
        ledger.recent.add_output(self.id, delta.text)
        events = self._building(await answer.feed(delta))
        ledger.publish(OutputDelta(self.id, answer.kind, delta.text, answer.tokens))
        self._publish_calls()
        return events

    async def _write_again(self, resume: Resume) -> list[StreamEvent]:
        """A call that can't be repaired is taken up again where it was still right."""
        answer, before, constrained = self._answer, self._generation, self._admission.constrained
        self._ledger.event("tools", f"{resume.tool or 'a call'} is written again", self.id)
        if constrained:
            await before.cancel()  # What it has read and written is then there to go on from.
        try:
            self._generation = await self._reopen(resume)
        except AnyclaudeError as error:
            self._ledger.event("tools", f"it can't be: {error}", self.id, level="warning")
            # What went before was cancelled, so the answer ends with the call.
            why = f"it can't be written again: {error}; the answer ends here" if constrained else ""
            events = self._building(await answer.give_up(why))
            self._publish_calls()
            if constrained:
                usage = replace(self._admission.usage, output_tokens=answer.round_tokens)
                self._finish_kept = Finish("stop", usage)
            finish, self._finish_kept = self._finish_kept, None
            return [*events, *(await self._end(finish) if finish else ())]
        self._finish_kept = None
        if not constrained:
            await before.cancel()
        return self._building(await answer.restart())

    def _keep_alive(self, keepalive: KeepAlive) -> list[StreamEvent]:
        due = keepalive.due()
        events: list[StreamEvent] = []
        if due.comment:
            events.append(Comment(due.comment))
        if due.ping:
            events.append(Ping())
        if due.empty_delta:
            events += self._building(self._answer.empty_delta())
        return events

    def _building(self, events: list[StreamEvent]) -> list[StreamEvent]:
        self._built.add(events)
        if self._keep is not None:
            self._keep.add(events)
        return events

    def _publish_calls(self) -> None:
        calls = self._answer.take_new_calls()
        self._ledger.recent.add_calls(self.id, calls)
        for call in calls:
            self._ledger.publish(ToolCallSeen(self._ledger.wall(), call))

    # ------------------------------------------------------------------------------- endings

    async def _end(self, finish: Finish) -> list[StreamEvent]:
        """The last events; the turn is remembered and its row written before they are sent."""
        answer = self._answer
        events = self._building(await answer.drain())
        if answer.resume is not None:
            self._finish_kept = finish
            return events
        if self._generation.admission is not self._admission:
            usage = replace(self._admission.usage, output_tokens=answer.round_tokens)
            finish = replace(finish, usage=usage)
        await self._remember(finish)
        if answer.pending and self._rounds is not None:
            self._publish_calls()
            self._round_ended = finish
            return events
        return [*events, *await self._close(finish)]

    async def _serve(
        self, rounds: Rounds, finish: Finish, keepalive: KeepAlive
    ) -> AsyncGenerator[StreamEvent, None]:
        """The round's calls run here, then the model goes on or the answer ends."""
        self._round_ended = None
        self._keep = None  # What a tool returned may be another thing the next time.
        answer, last = self._answer, rounds.over
        running = rounds.run(answer.pending, keepalive, self._interrupted)
        async with aclosing(running):
            async for ran in running:
                events = (
                    self._building(answer.answered(*ran)) if ran else self._keep_alive(keepalive)
                )
                keepalive.sent(ran is not None)
                for event in events:
                    yield event
        left = self._canonical.request.max_tokens - answer.round_tokens
        events = []
        if not (last or answer.calls_client or finish.reason == "length" or left < 1):
            try:
                opening = rounds.next(answer.rolled, finish, left, keepalive)
                async with aclosing(opening):
                    async for following in opening:
                        for event in (
                            self._take_up(following) if following else self._keep_alive(keepalive)
                        ):
                            yield event
                return
            except AnyclaudeError as error:
                why = f"anyclaude: the answer can't go on after its calls: {error}"
                self._ledger.event("mcp", why, self.id, level="warning")
                events = self._building(answer.say(why))
        for event in [*events, *await self._close(finish)]:
            yield event

    def _take_up(self, following: Round) -> list[StreamEvent]:
        """The next round is the one that is answered."""
        self._canonical, self._generation = following.canonical, following.generation
        self._admission, self._reopen = following.generation.admission, following.reopen
        return self._building(
            self._answer.go_on(following.canonical, self._admission, following.calls)
        )

    async def _remember(self, finish: Finish) -> None:
        """Keeps what the model wrote, for when the client sends it back."""
        if not (self._options.echo and finish.tokens):
            return
        thinking = self._canonical.request.thinking
        await self._echo.remember(
            self._fingerprint,
            self._recorder.session_id,
            self._canonical.request.messages,
            self._answer.content,
            finish.tokens,
            thinking=thinking is not None and thinking.enabled,
        )

    async def _close(self, finish: Finish) -> list[StreamEvent]:
        answer = self._answer
        if self._rounds is not None:
            finish = self._rounds.together(finish)
        events = self._building(answer.finish(finish))
        self._publish_calls()
        if self._is_short:
            messages, response = self._closing()
        else:
            loop = asyncio.get_running_loop()
            messages, response = await loop.run_in_executor(None, self._closing)
        self._ledger.recent.set_response(self.id, response)
        record = self._recorder.finished(finish, answer.stop_reason)
        self._done = True
        if self._keep is not None:
            self._keep.ended(self._recorder.elapsed_ms / 1000)
        self._ended(self.id)
        if finish.tokens:  # It was made here: against that, the wait for the disk is nothing.
            await self._ledger.finish(record, answer.calls, messages)
        else:
            await self._ledger.finish_later(record, answer.calls, messages)
        return events

    @property
    def _is_short(self) -> bool:
        """Whether the conversation is written down in less time than another thread begins in."""
        detail = self._ledger.recent.get(self.id)
        return detail is not None and len(detail.body) + len(detail.output) <= _SHORT_CHARS

    def _closing(self) -> tuple[tuple[StoredMessage, ...], str]:
        """What is kept of a finished answer: messages for the log, and the body as sent."""
        messages = self._answer.messages() if self._options.bodies else ()
        return messages, json.dumps(self._built.message(), ensure_ascii=False)

    async def _finish_failed(self, error: Exception) -> None:
        self._done = True
        await self._generation.cancel()
        await self._finish(self._recorder.refused(error), self._answer.calls)

    async def _abandon(self) -> None:
        """The client left, or the server is going down: stop the work, keep the row."""
        await self._generation.cancel()
        record = self._recorder.failed(
            CLIENT_CLOSED_REQUEST, "network", self._ledger.why_left, tokens=self._answer.tokens
        )
        await self._finish(record, self._answer.calls)

    async def _finish(self, record: RequestRecord, calls: Sequence[ToolCallRecord]) -> None:
        self._ended(self.id)
        await self._ledger.finish(record, calls)
