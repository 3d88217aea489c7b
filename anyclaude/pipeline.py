"""One request, top to bottom.

parse (server) → canonical form → route → search → exact cache → echo → backend → segments →
tool calls → events → row.

:class:`Pipeline` does what comes before the first byte, and raises;
:class:`~anyclaude.exchange.Exchange` does what comes after, and ends in ``message_stop`` or one
error event. Both are the same for a stream and for a single answer. An answer of a backend that
speaks the client's own API is passed on as it is, by :class:`~anyclaude.relaying.Relay`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from anyclaude.announcer import Announcer
from anyclaude.arrival import COUNT, MESSAGES, Arrival
from anyclaude.backend import Backend, BackendRequest, Generation, Resume
from anyclaude.errors import ApiError, EngineFailed
from anyclaude.exchange import CLIENT_CLOSED_REQUEST, Admitted, Exchange, ExchangeOptions
from anyclaude.gateway import Answering, Gateway, Opened, Passing
from anyclaude.keeping import Answers, Keep, Looked, Wanted
from anyclaude.ledger import Ledger
from anyclaude.offering import Offer, offer_for
from anyclaude.prompt.canonical import Canonical, canonicalise
from anyclaude.prompt.decisions import Decision
from anyclaude.prompt.echo import EchoStore
from anyclaude.prompt.echo_match import working_directory
from anyclaude.prompt.roles import bounded, role_of
from anyclaude.prompt.server_calls import ids_of_round
from anyclaude.prompting import Prompter, PromptOptions
from anyclaude.record import Recorder
from anyclaude.records import RequestDetail, RequestRecord, ToolVersion
from anyclaude.relaying import Relay, Relayable, admission_of
from anyclaude.replayed import Known, Replayed
from anyclaude.rounds import Round, Rounds, continued, with_server_tools
from anyclaude.routing.values import Asked
from anyclaude.search.asked import SearchWanted
from anyclaude.searched import Searched, WebSearch
from anyclaude.server_tools import ServerTools
from anyclaude.shaping import Shaping
from anyclaude.tools.desk import ToolDesk, ToolOptions
from anyclaude.tools.examples import with_examples
from anyclaude.types import Block, MessagesRequest, Role
from anyclaude.ways import Way

if TYPE_CHECKING:
    from anyclaude.caches.response.cache import Hit


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """``disabled_rules`` are canonical-form rules that stay off, ``max_rounds`` how often in one
    answer calls run here."""

    disabled_rules: frozenset[str]
    exchange: ExchangeOptions
    tools: ToolOptions
    max_rounds: int = 8


class Pipeline:
    """Takes parsed requests to a backend and their answers back."""

    def __init__(
        self,
        gateway: Gateway,
        echo: EchoStore,
        ledger: Ledger,
        options: PipelineOptions,
        new_id: Callable[[str], str],
        answers: Answers | None = None,
        search: WebSearch | None = None,
        prompter: Prompter | None = None,
        server_tools: ServerTools | None = None,
    ) -> None:
        self._gateway = gateway
        self._echo = echo
        self._ledger = ledger
        self._answers = answers or Answers(ledger)
        self._search = search or WebSearch()
        self.prompter = prompter or Prompter(ledger, PromptOptions())
        self._server_tools = server_tools
        self._desk = ToolDesk(options.tools)
        self._announcer = Announcer(ledger)
        self._options = options
        self._disabled = options.disabled_rules
        self._new_id = new_id
        self._running: dict[str, Exchange | Relay | Searched] = {}

    @property
    def disabled_rules(self) -> frozenset[str]:
        """The canonical-form rules that are off now."""
        return self._disabled

    def set_rule(self, name: str, on: bool) -> None:
        """Turns a rule on or off for the requests that come; ``name`` is one of the rules'."""
        self._disabled = self._disabled - {name} if on else self._disabled | {name}

    @property
    def tools(self) -> tuple[ToolVersion, ...]:
        """Every version of a tool that was offered since the start, by name and number."""
        return self._announcer.tools

    # ------------------------------------------------------------------- before the first byte

    async def open(
        self, arrival: Arrival, request: MessagesRequest
    ) -> Exchange | Relay | Replayed | Searched:
        """Brings a request as far as a backend's admission, or a cache's.

        Raises :class:`ApiError` (invalid, too long, loading, full); the row is then written.
        """
        role = role_of(arrival.client, request)
        request = bounded(with_examples(request), role)
        recorder = self._announcer.received(arrival, request, role)
        self._announcer.tools_seen(arrival, request)
        try:
            canonical = canonicalise(request, self._disabled)
            passed_on = self._passed_on(arrival, request, role)
            wanted = self._search.wanted(request, role, passed_on)
            canonical = await self._search.with_results(arrival, canonical, role, passed_on)
            self._announcer.canonical(arrival, canonical)
            if wanted is not None:
                return await self._searched(wanted, canonical, recorder)
            offer = await self._offer(arrival, request, role)
            canonical = with_server_tools(canonical, offer.tools)
            asked = arrival.asked(canonical.request, role)
            decided = await self.prompter.decisions.of(arrival.conversation)
            looked = await self._look(arrival, canonical, asked, decided)
            if looked.hit is not None:
                return self._replay(looked.hit, canonical, recorder)
            shaping = Shaping(self.prompter, arrival, role)
            opened = await self._gateway.open(
                asked,
                lambda backend, model: self._job(arrival, canonical, shaping, backend, model),
                arrival.as_received(MESSAGES),
                shaping,
            )
        except BaseException as error:
            await self._refuse(recorder, error)
            raise
        reason = opened.reason
        if arrival.replay_of:
            reason = f"{reason}; a replay of {arrival.replay_of}"
        recorder.set(retries=opened.retries)
        keep = looked.keep if opened.by_target else None
        if keep is not None:
            # Another model may be loaded, or another backend go on, before the answer is whole.
            request = canonical.request
            keep.valid = lambda: (
                self._way(asked, request, decided) == looked.way and not opened.switched()
            )
        match opened.answer:
            case Answering():
                self._announcer.shaped(arrival, shaping.sections)
                shaping.note(recorder)
                rounds = self._rounds(arrival, canonical, shaping, asked, opened, offer)
                return self._answer(
                    arrival, canonical, opened.answer, recorder, reason, keep, rounds
                )
            case Passing():
                return self._pass(opened, opened.answer, canonical, recorder, reason, keep)

    async def _look(
        self, arrival: Arrival, canonical: Canonical, asked: Asked, decided: Decision
    ) -> Looked:
        """The answer that a cache has, or the place for the one that is made now."""
        way = None if arrival.replay_of else self._way(asked, canonical.request, decided)
        if way is None:
            return Looked()
        raw = arrival.as_received(MESSAGES)
        return await self._answers.look(
            Wanted(
                canonical.request,
                canonical.callable_tools,
                way,
                raw.headers,
                raw.body,
                raw.query,
                arrival.conversation,
            )
        )

    async def _offer(self, arrival: Arrival, request: MessagesRequest, role: Role) -> Offer:
        return await offer_for(self._server_tools, self.prompter, arrival, request, role)

    # ------------------------------------------------------------------------ who answers it

    async def _searched(
        self, wanted: SearchWanted, canonical: Canonical, recorder: Recorder
    ) -> Searched:
        searching = await self._search.looked(wanted, recorder, canonical.request.model)
        options = self._options.exchange
        searched = Searched(searching, self._ledger, options, self._new_id, self._forget)
        recorder.admitted(searched.admission, searched.route_reason)
        self._running[searched.id] = searched
        self._announcer.admitted(searched, canonical, "")
        return searched

    def _passed_on(
        self, arrival: Arrival, request: MessagesRequest, role: Role
    ) -> Callable[[], bool]:
        """Says whether the request may go to somebody as it came, or to nobody at all."""

        def passed_on() -> bool:
            way = self._gateway.way(arrival.asked(request, role))
            return way is None or way.relays

        return passed_on

    def _way(self, asked: Asked, request: MessagesRequest, decided: Decision) -> Way | None:
        """Who may answer, and what of the request they are shown."""
        way, shown = self._gateway.way(asked), self.prompter.identity(request, decided)
        if way is None or not shown:
            return way
        return replace(way, served=replace(way.served, extra=(*way.served.extra, *shown)))

    def _replay(self, hit: Hit, canonical: Canonical, recorder: Recorder) -> Replayed:
        known = Known(hit, canonical, recorder, canonical.request.model)
        replayed = Replayed(known, self._ledger, self._options.exchange, self._new_id)
        recorder.admitted(replayed.admission, replayed.route_reason)
        self._announcer.admitted(replayed, canonical, "")
        return replayed

    def _answer(
        self,
        arrival: Arrival,
        canonical: Canonical,
        answering: Answering,
        recorder: Recorder,
        reason: str,
        keep: Keep | None,
        rounds: Rounds | None,
    ) -> Exchange:
        backend, generation, job = answering.backend, answering.generation, answering.job
        recorder.admitted(generation.admission, reason)
        self._announcer.tools_taken(arrival, canonical, generation.admission)
        calls = self._desk.calls(arrival.id, canonical.callable_tools, self._new_id)
        admitted = Admitted(
            canonical,
            generation,
            recorder,
            reason,
            backend.fingerprint,
            calls,
            _reopening(backend, job),
            keep,
            rounds,
        )
        exchange = self._exchange(admitted, echo=not arrival.replay_of)
        self._announcer.admitted(exchange, canonical, job.echo_fate or "")
        return exchange

    def _rounds(
        self,
        arrival: Arrival,
        canonical: Canonical,
        shaping: Shaping,
        asked: Asked,
        opened: Opened,
        offer: Offer,
    ) -> Rounds | None:
        """What runs the answer's calls here; a replay runs none, for they may change things."""
        tools, target = offer.runner, opened.handle.target
        if tools is None or not offer.tools or arrival.replay_of:
            return None

        async def go_on(rolled: Sequence[Block], number: int, max_tokens: int) -> Round:
            following = continued(canonical, rolled, max_tokens)

            async def job_for(backend: Backend, model: str) -> BackendRequest:
                job = await self._job(arrival, following, shaping, backend, model)
                return replace(job, id=f"{job.id}.r{number}")

            calls = self._desk.calls(
                arrival.id, canonical.callable_tools, ids_of_round(number, self._new_id)
            )
            again = await self._gateway.again(asked, target, job_for)
            return Round(following, again.generation, calls, _reopening(again.backend, again.job))

        names = frozenset(tool.name for tool in offer.tools)
        return Rounds(arrival.id, names, tools, go_on, self._options.max_rounds)

    def _pass(
        self,
        opened: Opened,
        passing: Passing,
        canonical: Canonical,
        recorder: Recorder,
        reason: str,
        keep: Keep | None,
    ) -> Relay:
        admission = admission_of(passing, canonical.request.model)
        recorder.admitted(admission, reason)
        relay = Relay(
            Relayable(
                passing, opened.handle, recorder, reason, canonical.callable_tools, admission, keep
            ),
            self._ledger,
            self._forget,
        )
        self._running[relay.id] = relay
        self._announcer.admitted(relay, canonical, "")
        return relay

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
        recorder = self._announcer.received(arrival, request, Role.COUNT)
        try:
            canonical = canonicalise(with_examples(request), self._disabled)
            passed_on = self._passed_on(arrival, request, Role.COUNT)
            canonical = await self._search.with_results(arrival, canonical, Role.COUNT, passed_on)
            offer = await self._offer(arrival, request, Role.COUNT)
            canonical = with_server_tools(canonical, offer.tools)
            shaping = Shaping(self.prompter, arrival, Role.COUNT)
            name, reason, tokens = await self._gateway.count(
                arrival.asked(canonical.request, Role.COUNT),
                lambda backend, model: self._job(arrival, canonical, shaping, backend, model),
                arrival.as_received(COUNT),
            )
        except BaseException as error:
            await self._refuse(recorder, error)
            raise
        await self._ledger.finish(recorder.counted(name, reason, tokens))
        return tokens

    async def reject(
        self,
        arrival: Arrival,
        error: ApiError,
        *,
        streaming: bool = False,
        model: str = "",
        role: Role = Role.MAIN,
    ) -> None:
        """Writes the row of a body that can't be parsed, or whose sender may not ask for it."""
        recorder = Recorder(arrival.id, arrival.started_at, self._ledger.clock)
        recorder.set(model_requested=model, streaming=streaming, role=role.value)
        recorder.set(session_id=arrival.client.session_id, key_name=arrival.key_name)
        self._ledger.recent.put(RequestDetail(arrival.id, arrival.client.headers, arrival.body))
        await self._refuse(recorder, error)

    async def _job(
        self, arrival: Arrival, canonical: Canonical, shaping: Shaping, backend: Backend, model: str
    ) -> BackendRequest:
        """The request as a backend gets it, with what that backend wrote earlier put back."""
        job = await self._whole(arrival, canonical, shaping.role, backend, model)
        return await shaping.job(backend, job)

    async def _whole(
        self, arrival: Arrival, canonical: Canonical, role: Role, backend: Backend, model: str
    ) -> BackendRequest:
        job = BackendRequest(
            arrival.id,
            canonical.request,
            role,
            # A replay is none of its session's turns, for whoever compares or keeps those.
            "" if arrival.replay_of else arrival.conversation,
            callable_tools=canonical.callable_tools,
            model=model,
        )
        if not self._options.exchange.echo:
            return job
        session, request = arrival.client.session_id, canonical.request
        recalled = await self._echo.recall(
            backend.fingerprint, session, request.messages, cwd=working_directory(request)
        )
        if recalled.newest == "changed":
            index = recalled.changed[-1]
            self._ledger.event(
                "echo", f"messages.{index} differs from what was generated", arrival.id
            )
        return replace(job, echoes=recalled.echoes, echo_fate=recalled.newest)

    # ------------------------------------------------------------------------------ the ending

    async def _refuse(self, recorder: Recorder, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            record = recorder.failed(CLIENT_CLOSED_REQUEST, "network", self._ledger.why_left)
            self._ledger.spawn(self._ledger.finish(record))
            return
        await self._ledger.finish(recorder.refused(error))

    def running(self) -> tuple[RequestRecord, ...]:
        """The rows, as they stand now, of answers that are under way; oldest first."""
        return tuple(exchange.so_far for exchange in self._running.values())

    async def cancel(self, request_id: str) -> bool:
        """Stops one running request; its client gets an error event."""
        exchange = self._running.get(request_id)
        if exchange is None:
            return False
        await exchange.interrupt(EngineFailed("the request was cancelled from the console"))
        return True


def _reopening(backend: Backend, job: BackendRequest) -> Callable[[Resume], Awaitable[Generation]]:
    """Has the backend go on with an answer to the same request, under a name of its own."""
    count = itertools.count(2)

    async def reopen(resume: Resume) -> Generation:
        return await backend.open(replace(job, id=f"{job.id}.{next(count)}", resume=resume))

    return reopen
