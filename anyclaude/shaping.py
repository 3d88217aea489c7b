"""One request on its way from its canonical form to what a backend is sent.

The job for a backend is made here, and a shorter one when that backend says the prompt is too
long: what is cut out of a conversation once stays out, so that the next turns extend the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from anyclaude.arrival import Arrival
from anyclaude.backend import Backend, BackendRequest, EchoTurn
from anyclaude.prompt.compress import SHARE
from anyclaude.prompt.deferring import callable_beside
from anyclaude.prompt.edits import ClearToolUses, edits_of
from anyclaude.prompt.optimise import Shown
from anyclaude.prompt.window import (
    Cut,
    clearable,
    cut_out,
    holds,
    settled,
    sizes_of,
    sliding,
)
from anyclaude.prompting import Asker, Prompter, fixed_texts, window_of
from anyclaude.record import Recorder
from anyclaude.records import PromptSection
from anyclaude.summaries import Space, Summaries
from anyclaude.types import Message, MessagesRequest, Role

_ANSWER_SHARE = 8
"""So much of the window is kept free for the answer, unless less of one is asked for."""
_TRIES = (1.0, 0.6, 0.3)
"""Shares of the room for messages, should the first cut turn out too small."""
_LEAST_ROOM = 200
_LEAST_PIECE = 16
"""A cut that frees less than this part of the window isn't worth reading the prompt anew: the
client had better compact."""


class Shaping:
    """One request's way from its canonical form to what a backend is sent."""

    def __init__(self, prompter: Prompter, arrival: Arrival, role: Role) -> None:
        self._prompter = prompter
        self.role = role
        # A replay is none of its session's turns: it decides nothing for it.
        self._of = Asker(arrival.id, "" if arrival.replay_of else arrival.conversation, role)
        self._shown: Shown | None = None
        self._sections: tuple[PromptSection, ...] = ()
        self._window = 0
        self._tried = 0
        self._canonical: BackendRequest | None = None
        self._cut: Cut | None = None
        self._pending: Cut | None = None
        self._done = ""
        self._summaries = Summaries(prompter, self._of)

    # ------------------------------------------------------------------------------- the job

    async def job(self, backend: Backend, canonical: BackendRequest) -> BackendRequest:
        """The job as the backend is to get it."""
        self._canonical, self._tried = canonical, 0
        self._window = window_of(backend)
        request = canonical.request
        self._shown, self._sections = await self._prompter.show(backend, request, self._of)
        self._cut = await self._recorded(canonical.request.messages)
        job = await self._made(canonical, self._cut)
        for edit in edits_of(canonical.request):
            job = await self._edited(backend, canonical, job, edit)
        return job

    async def _made(self, canonical: BackendRequest, cut: Cut | None) -> BackendRequest:
        shown = self._shown
        request = shown.request if shown is not None else canonical.request
        callable_tools = callable_beside(request.tools, canonical.callable_tools)
        canonical = replace(canonical, callable_tools=callable_tools)
        if cut is None:
            return replace(canonical, request=request)
        fitted = await asyncio.to_thread(cut_out, request.messages, cut)
        mark = request.cache_mark
        if mark is not None and mark >= 0:
            mark = max((new for old, new in fitted.places.items() if old <= mark), default=-1)
        echoes = tuple(
            EchoTurn(fitted.places[echo.message_index], echo.tokens, echo.thinking)
            for echo in canonical.echoes
            if echo.message_index in fitted.places
        )
        request = replace(request, messages=fitted.messages, cache_mark=mark)
        return replace(canonical, request=request, echoes=echoes)

    async def _recorded(self, messages: Sequence[Message]) -> Cut | None:
        """The cut that the conversation has, if it still begins as it did then."""
        prompter = self._prompter
        text = (await prompter.decisions.of(self._of.conversation)).cut
        if not text:
            return None
        try:
            cut = Cut.from_json(text)
        except (ValueError, TypeError, KeyError):
            return None
        if await asyncio.to_thread(holds, messages, cut):
            return cut
        return None

    # ---------------------------------------------------------------------------- overflow

    def too_full(self, backend: Backend, job: BackendRequest, tokens: int) -> int:
        """The window, when a prompt that it takes leaves too little of it for an answer, else 0."""
        window = window_of(backend)
        if not window or self._prompter.options.overflow == "refuse":
            return 0
        room = min(job.request.max_tokens, window // _ANSWER_SHARE)
        return window if tokens + room > window else 0

    async def refit(
        self, backend: Backend, job: BackendRequest, tokens: int, window: int
    ) -> BackendRequest | None:
        """A shorter job in place of one that takes ``tokens`` of the ``window``.

        ``None`` when the policy has nothing that can go, or no more.
        """
        policy = self._prompter.options.overflow
        canonical = self._canonical
        if policy == "refuse" or canonical is None or self._tried >= len(_TRIES) or not window:
            return None
        share = _TRIES[self._tried]
        self._tried += 1
        messages = canonical.request.messages
        if policy == "clear_tools":
            cut = await self._clearing(messages, self._prompter.options.keep_tool_results)
        else:
            cut = await self._sliding(backend, messages, job, tokens, window, share)
        if cut is None:
            return None
        cut = await asyncio.to_thread(settled, messages, cut)
        shorter = await self._made(canonical, cut)
        before = await asyncio.to_thread(_chars, job.request)
        after = await asyncio.to_thread(_chars, shorter.request)
        if (before - after) * tokens < before * window / _LEAST_PIECE:
            return None
        self._pending = cut
        gone = len(cut.cleared) or cut.end - cut.start
        unit = "results of tools" if cut.cleared else "messages"
        note = f"; {self._summaries.note}" if cut.summary and self._summaries.note else ""
        self._done = f"{policy}: {gone} {unit}, {tokens} tokens > {window}{note}"
        return shorter

    async def _clearing(
        self, messages: Sequence[Message], keep: int, exclude: frozenset[str] = frozenset()
    ) -> Cut | None:
        before = self._cut.cleared if self._cut is not None else ()
        cleared = await asyncio.to_thread(clearable, messages, keep, exclude=exclude)
        if not set(cleared) - set(before):
            return None
        return replace(self._cut or Cut(), cleared=tuple(dict.fromkeys((*before, *cleared))))

    async def _sliding(
        self,
        backend: Backend,
        messages: Sequence[Message],
        job: BackendRequest,
        tokens: int,
        window: int,
        share: float,
    ) -> Cut | None:
        compress = self._prompter.options.overflow == "compress"
        shown = self._shown.request.messages if self._shown is not None else messages
        sizes = await asyncio.to_thread(sizes_of, shown)
        # What messages take in tokens is told from the whole prompt, which was counted exactly.
        fixed = sum(len(text) for text in fixed_texts(job.request))
        per_char = tokens / max(1, await asyncio.to_thread(_chars, job.request))
        room = (self._prompter.options.overflow_keep * window / per_char - fixed) * share
        if compress:
            room *= 1 - SHARE
        before = self._cut
        cut = await asyncio.to_thread(sliding, messages, max(room, 0.0), sizes)
        if cut is None or (before is not None and cut.end <= before.end):
            return None
        if compress:
            gone = messages[cut.start : cut.end]
            told = sum(sizes[cut.start : cut.end])
            space = max(_LEAST_ROOM, round(min(told, room / max(SHARE, 1 - SHARE)) * SHARE))
            summary = await self._summaries.write(
                backend, job, gone, Space(space, window, per_char)
            )
            cut = replace(cut, summary=summary)
        return cut

    async def fitted(self) -> None:
        """The shorter job was taken: from now on the conversation goes on from it."""
        if self._pending is None:
            return
        cut, self._pending = self._pending, None
        self._cut = cut
        prompter = self._prompter
        prompter.ledger.event(
            "prompt", f"the conversation was cut, {self._done}", self._of.request_id
        )
        await prompter.decisions.decide(self._of.conversation, cut=cut.to_json())

    # ------------------------------------------------------------------ the client's own edits

    async def _edited(
        self,
        backend: Backend,
        canonical: BackendRequest,
        job: BackendRequest,
        edit: ClearToolUses,
    ) -> BackendRequest:
        """The job after one of the client's edits, which stays for the turns to come."""
        messages = canonical.request.messages
        by_uses = edit.triggered_by_uses(messages, self._cut.cleared if self._cut else ())
        if not by_uses and (edit.tokens is None or await backend.count(job) <= edit.tokens):
            return job
        cut = await self._clearing(messages, edit.keep, frozenset(edit.exclude))
        if cut is None:
            return job
        cut = replace(cut, inputs=edit.inputs)
        shorter = await self._made(canonical, await asyncio.to_thread(settled, messages, cut))
        if edit.at_least:
            saved = await backend.count(job) - await backend.count(shorter)
            if saved < edit.at_least:
                return job
        count = len(cut.cleared)
        self._pending = await asyncio.to_thread(settled, messages, cut)
        self._done = f"clear_tools: {count} results of tools, as the client wants it"
        await self.fitted()
        return shorter

    # ----------------------------------------------------------------------------- the figures

    @property
    def sections(self) -> tuple[PromptSection, ...]:
        return self._sections

    def note(self, recorder: Recorder) -> None:
        """Puts the figures into the request's row."""
        shown = self._shown
        recorder.set(window_tokens=self._window, overflow=self._done)
        if shown is None or not self._sections:
            return
        recorder.set(
            prompt_tier=shown.tier.value,
            prompt_id=shown.id,
            prompt_tokens_before=sum(s.tokens_before for s in self._sections),
            prompt_tokens_after=sum(s.tokens_after for s in self._sections),
        )


def _chars(request: MessagesRequest) -> int:
    """Characters of the whole prompt, roughly."""
    return sum(map(len, fixed_texts(request))) + sum(sizes_of(request.messages))
