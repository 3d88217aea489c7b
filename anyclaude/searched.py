"""One request that is a search of the web: answered from its results, without any model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from anyclaude.arrival import Arrival
from anyclaude.backend import Admission, Finish
from anyclaude.errors import ApiError
from anyclaude.events import FirstToken, OutputDelta
from anyclaude.exchange import CLIENT_CLOSED_REQUEST, ExchangeOptions, StreamNotes
from anyclaude.injecting import Injector
from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import Canonical
from anyclaude.record import Recorder
from anyclaude.records import RequestRecord
from anyclaude.search import blocks
from anyclaude.search.asked import SearchWanted, wanted_of
from anyclaude.search.blocks import row_of
from anyclaude.search.service import SearchService
from anyclaude.search.values import GIVEN_UP, Outcome
from anyclaude.stream import Emitter, MessageBuilder, StreamError, StreamEvent
from anyclaude.types import JsonValue, MessagesRequest, Role, Tier, Usage

BACKEND = "search"
"""What rows and headers have for a backend where none was asked."""

_HAVE_RESULTS = frozenset({Role.MAIN, Role.COMPACT, Role.COUNT})


@dataclass(frozen=True, slots=True)
class Searching:
    """A request that is a search; ``known`` is what came of it if nobody needs to be asked."""

    service: SearchService
    wanted: SearchWanted
    known: Outcome | None
    recorder: Recorder
    model: str


class WebSearch:
    """Search as the pipeline has it: requests that are one, and turns that get results.

    Without an ``injector`` there is none of it. Whether a request may be passed on, as it is, is
    asked only where it matters.
    """

    def __init__(self, injector: Injector | None = None) -> None:
        self._injector = injector

    def wanted(
        self, request: MessagesRequest, role: Role, passed_on: Callable[[], bool]
    ) -> SearchWanted | None:
        """The search that the request is, unless whoever answers it makes it himself."""
        if self._injector is None or role is not Role.SEARCH or passed_on():
            return None
        return wanted_of(request)

    async def with_results(
        self, arrival: Arrival, canonical: Canonical, role: Role, passed_on: Callable[[], bool]
    ) -> Canonical:
        """The request with what searches put into its turns; a new turn may get its own."""
        injector = self._injector
        if injector is None or role not in _HAVE_RESULTS:
            return canonical
        if not injector.concerned or passed_on():
            return canonical
        if role is Role.MAIN and not arrival.replay_of:
            return await injector.injected(canonical, arrival.conversation, arrival.id)
        return await injector.restored(canonical, arrival.conversation)

    async def looked(self, wanted: SearchWanted, recorder: Recorder, model: str) -> Searching:
        """With results of earlier, if there are any; a client that allows no search gets none."""
        assert self._injector is not None, "what is wanted came from here"
        service = self._injector.service
        if wanted.max_uses is not None and wanted.max_uses < 1:
            text = f"the client allows {wanted.max_uses} searches"
            known = Outcome(wanted.query.text, error="max_uses_exceeded", detail=text)
            return Searching(service, wanted, known, recorder, model)
        known_already = await service.known(wanted.query)
        return Searching(service, wanted, known_already, recorder, model)


class Searched:
    """See :class:`anyclaude.exchange.Exchange`, whose ``events`` and ``message`` these are."""

    def __init__(
        self,
        searching: Searching,
        ledger: Ledger,
        options: ExchangeOptions,
        new_id: Callable[[str], str],
        ended: Callable[[str], None],
    ) -> None:
        self.id = searching.recorder.id
        self._known = searching.known
        cached = self._known is not None and self._known.cached
        self.route_reason = "a web search, which needs no model"
        self.cache_note = ""
        tier = Tier.SEARCH if cached else None
        self.admission = Admission(BACKEND, searching.model, Usage(), tier)
        self._wanted = searching.wanted
        self._recorder = searching.recorder
        self._service = searching.service
        self._ledger = ledger
        self._options = options
        self._new_id = new_id
        self._ended = ended
        self._emitter = Emitter(new_id("msg_"), searching.model)
        self._built = MessageBuilder()
        self._interrupted: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        self._done = False

    @property
    def so_far(self) -> RequestRecord:
        """The row as it stands now."""
        return self._recorder.so_far

    async def interrupt(self, error: ApiError) -> None:
        """Ends the search, and the answer with ``error``."""
        if not self._interrupted.done():
            self._interrupted.set_result(error)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """The whole stream. The row is written before the last event."""
        streams = self._options.streams
        notes = streams.begin(self.id, lambda: self._recorder.elapsed_ms) if streams else None
        use_id = self._new_id("srvtoolu_")
        try:
            for event in self._call(use_id):
                yield self._noted(event, notes)
            try:
                outcome = await self._found()
            except ApiError as error:
                await self._fail(error)
                for event in self._emitter.fail(error.type, error.message):
                    yield self._noted(event, notes)
                return
            answer = list(self._answer(use_id, outcome))
            for event in answer[:-1]:
                yield self._noted(event, notes)
            self._built.add(answer[-1:])
            await self._finish(outcome)
            if notes is not None:
                notes.add(answer[-1])
            yield answer[-1]
        finally:
            if notes is not None:
                notes.close()
            if not self._done:
                self._done = True
                self._ended(self.id)
                self._ledger.spawn(self._abandon())

    async def message(self) -> dict[str, JsonValue]:
        """The answer as one body; raises :class:`ApiError` when it was interrupted."""
        async for event in self.events():
            if isinstance(event, StreamError):
                raise self._interrupted.result()
        return self._built.message()

    # ------------------------------------------------------------------------------- the parts

    def _call(self, use_id: str) -> Iterator[StreamEvent]:
        """What is known before anything was found."""
        given = json.dumps({"query": self._wanted.query.text}, ensure_ascii=False)
        yield from self._emitter.start(Usage())
        yield from self._emitter.server_tool_use(use_id, self._wanted.tool)
        yield from self._emitter.tool_json(given)
        yield from self._emitter.close_block()

    async def _found(self) -> Outcome:
        """What came of the search. Raises :class:`ApiError` when it was interrupted."""
        if self._known is not None:
            return self._known
        asking = asyncio.ensure_future(self._service.ask(self._wanted.query))
        try:
            waiting: set[asyncio.Future[Any]] = {asking, self._interrupted}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._interrupted.done():
                raise self._interrupted.result()
            return asking.result()
        finally:
            if not asking.done():
                asking.cancel()
                query = self._wanted.query.text
                self._tell(Outcome(query, error="unavailable", detail=GIVEN_UP))

    def _answer(self, use_id: str, outcome: Outcome) -> Iterator[StreamEvent]:
        emitter, ledger = self._emitter, self._ledger
        yield from emitter.web_search_result(use_id, blocks.result_content(outcome))
        if self._recorder.first_token():
            ledger.publish(FirstToken(self.id, self._recorder.ttft_ms))
        for passage in blocks.passages(outcome):
            ledger.publish(OutputDelta(self.id, "text", passage.text, 0))
            ledger.recent.add_output(self.id, passage.text)
            yield from emitter.cited(passage.text, passage.citations)
        # Anthropic counts searches that gave results, not those that failed.
        usage = Usage(web_searches=0 if outcome.error else 1)
        yield from emitter.finish("end_turn", None, usage)

    def _tell(self, outcome: Outcome) -> None:
        self._ledger.search_made(row_of(self.id, outcome), outcome.troubles)

    def _noted(self, event: StreamEvent, notes: StreamNotes | None) -> StreamEvent:
        self._built.add([event])
        if notes is not None:
            notes.add(event)
        return event

    # ------------------------------------------------------------------------------- endings

    async def _finish(self, outcome: Outcome) -> None:
        self._tell(outcome)
        body = self._built.message()
        self._ledger.recent.set_response(self.id, json.dumps(body, ensure_ascii=False))
        record = self._recorder.finished(Finish("stop", Usage()), "end_turn")
        self._close()
        await self._ledger.finish(record)

    async def _fail(self, error: ApiError) -> None:
        self._close()
        await self._ledger.finish(self._recorder.refused(error))

    def _close(self) -> None:
        self._done = True
        self._ended(self.id)

    async def _abandon(self) -> None:
        record = self._recorder.failed(CLIENT_CLOSED_REQUEST, "network", self._ledger.why_left)
        await self._ledger.finish(record)
