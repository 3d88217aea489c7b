"""How system prompts and tools are shown to models: one tier for a conversation, and its figures.

The grammar and the checks of calls keep the client's own tools all along.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from anyclaude.arrival import CHARS_PER_TOKEN
from anyclaude.backend import Backend, Measured
from anyclaude.config.settings import Overflow, Summaries
from anyclaude.events import PromptShaped
from anyclaude.ledger import Ledger
from anyclaude.prompt.canonical import definition_text
from anyclaude.prompt.compress import Embedder
from anyclaude.prompt.decisions import Decision, Decisions
from anyclaude.prompt.deferring import deferrable, without_loader
from anyclaude.prompt.edits import edits_of
from anyclaude.prompt.optimise import Optimiser, Shown, rules_digest
from anyclaude.prompt.shorten import UserRule
from anyclaude.prompt.tiers import ORDER, PromptTier
from anyclaude.records import PromptSection
from anyclaude.types import MessagesRequest, Role, TextBlock, ToolDefinition

_AUTO_SHARE = 4
"""Tier auto lets system prompt and tools take this part of the window."""
_COUNTED = 64
_MOST_TOLD = 1_000
_DECIDES = frozenset({Role.MAIN, Role.SUBAGENT})
_UNDECIDED = Decision()
_MEASURES: dict[type[Backend], bool] = {}


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """See :class:`anyclaude.config.settings.PromptSettings`; ``tier`` ``None`` is ``auto``."""

    tier: PromptTier | None = PromptTier.OFF
    budget_tokens: int = 0
    rules: tuple[UserRule, ...] = ()
    defer: tuple[str, ...] = ()
    overflow: Overflow = "refuse"
    overflow_keep: float = 0.5
    keep_tool_results: int = 3
    summaries: Summaries = "extract"
    summary_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose request it is; ``conversation`` is empty for one that decides nothing."""

    request_id: str
    conversation: str
    role: Role


class Prompter:
    """Shortens prompts. ``decisions`` remember what conversations began with."""

    def __init__(
        self,
        ledger: Ledger,
        options: PromptOptions,
        decisions: Decisions | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self.ledger = ledger
        self.options = options
        self.decisions = decisions or Decisions()
        self.embedder = embedder
        self.optimiser = Optimiser(options.rules)
        self.on = True
        """Whether prompts are shortened at all; a conversation keeps its tier meanwhile."""
        self._told: set[str] = set()
        """Prompts of which it was said that they are used untouched."""
        self._sections: OrderedDict[tuple[str, str], tuple[PromptSection, ...]] = OrderedDict()

    def identity(
        self, request: MessagesRequest, decided: Decision = _UNDECIDED
    ) -> tuple[tuple[str, str], ...]:
        """What of this changes answers, for the keys of caches; empty when nothing does.

        ``decided`` is what holds for the request's conversation: that stays, whatever the
        configuration says by now.
        """
        options = self.options
        said = [("edit", repr(edit)) for edit in edits_of(request)]
        if self.on and options.tier is not PromptTier.OFF:
            auto = f"auto {options.budget_tokens}"
            tier = decided.tier or (options.tier.value if options.tier else auto)
            said.append(("prompt", f"{tier} {rules_digest(options.rules)}"))
        if options.overflow != "refuse":
            shares = f"{options.overflow_keep} {options.keep_tool_results} {options.summaries}"
            said.append(("overflow", f"{options.overflow} {shares}"))
        if decided.cut:
            said.append(("cut", decided.cut))
        return tuple(said)

    def deferred(self, tools: Sequence[ToolDefinition]) -> tuple[ToolDefinition, ...]:
        """Which of these are only named, where the conversation's tier has that."""
        if not self.on or self.options.tier in (PromptTier.OFF, PromptTier.LIGHT):
            return ()
        return deferrable(tools, self.options.defer)

    async def show(
        self, backend: Backend, request: MessagesRequest, of: Asker
    ) -> tuple[Shown, tuple[PromptSection, ...]]:
        """The request in its conversation's tier, and the parts of its prompt in tokens."""
        if not self.on or self.options.tier is PromptTier.OFF:
            return Shown(without_loader(request), PromptTier.OFF), ()
        if _measured(backend) is None:
            # Others are told of every tool that may be called, so nothing can be left for later.
            request = without_loader(request)
        tier = await self._tier(backend, request, of)
        shown = await asyncio.to_thread(self.optimiser.show, request, tier)
        if shown.failure and shown.id not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told.add(shown.id)
            said = f"the untouched prompt is used: {shown.failure}"
            self.ledger.event("prompt", said, of.request_id, level="warning")
        if not shown.parts:
            return shown, ()
        parts, new = await self._counted(shown, backend)
        if new:
            now = self.ledger.wall()
            self.ledger.publish(PromptShaped(now, of.request_id, shown.id, shown.tier.value, parts))
        return shown, parts

    async def _tier(self, backend: Backend, request: MessagesRequest, of: Asker) -> PromptTier:
        """The conversation's own, or the one that it is to keep from now on."""
        decided = (await self.decisions.of(of.conversation)).tier
        if decided in ORDER:
            return PromptTier(decided)
        tier, why = self.options.tier, "as the configuration says"
        if tier is None:
            tier, why = await self._automatic(backend, request)
        if of.role in _DECIDES and of.conversation:
            await self.decisions.decide(of.conversation, tier=tier.value)
            if tier is not PromptTier.OFF:
                said = f"system prompt and tools are shortened in tier {tier.value}, {why}"
                self.ledger.event("prompt", said, of.request_id)
        return tier

    async def _automatic(
        self, backend: Backend, request: MessagesRequest
    ) -> tuple[PromptTier, str]:
        """The mildest tier whose system prompt and tools are within the budget."""
        budget = self.options.budget_tokens or window_of(backend) // _AUTO_SHARE
        if not budget:
            return PromptTier.OFF, "for neither a window nor a budget is known"
        tokens = 0
        for tier in ORDER:
            shown = await asyncio.to_thread(self.optimiser.show, request, tier)
            tokens = sum(await count(backend, _head_texts(shown.request)))
            if tokens <= budget:
                return tier, f"in which they take {tokens} tokens of the {budget} they may"
        return ORDER[-1], f"in which they take {tokens} tokens, more than the {budget} they may"

    async def _counted(
        self, shown: Shown, backend: Backend
    ) -> tuple[tuple[PromptSection, ...], bool]:
        """The parts of a prompt in tokens, and whether they are counted for the first time."""
        key = (shown.id, backend.fingerprint)
        if (known := self._sections.get(key)) is not None:
            self._sections.move_to_end(key)
            return known, False
        parts = [placed.part for placed in shown.parts]
        texts = [text for part in parts for text in (part.before, part.after)]
        counts = await count(backend, texts)
        found = tuple(
            PromptSection(
                placed.place,
                placed.part.title,
                placed.part.kind.value,
                placed.part.importance,
                placed.part.protected,
                placed.part.action,
                before,
                after,
            )
            for placed, before, after in zip(shown.parts, counts[::2], counts[1::2], strict=True)
        )
        self._sections[key] = found
        while len(self._sections) > _COUNTED:
            self._sections.popitem(last=False)
        return found, True


async def count(backend: Backend, texts: Sequence[str]) -> tuple[int, ...]:
    """The tokens of each text, by the backend's tokenizer or, where it has none, estimated."""
    if (measured := _measured(backend)) is not None:
        return await measured.count_texts(texts)
    return tuple(round(len(text) / CHARS_PER_TOKEN) for text in texts)


def window_of(backend: Backend) -> int:
    """The backend's window in tokens, 0 where it isn't known."""
    measured = _measured(backend)
    return measured.context_limit if measured is not None else 0


def _measured(backend: Backend) -> Measured | None:
    """The backend if it knows its tokens; asked of a class once, for it takes 0.1 ms."""
    kind = type(backend)
    if kind not in _MEASURES:
        _MEASURES[kind] = isinstance(backend, Measured)
    return cast(Measured, backend) if _MEASURES[kind] else None


def fixed_texts(request: MessagesRequest) -> list[str]:
    return [
        *(block.text for block in request.system),
        *(definition_text(tool) for tool in request.tools),
    ]


def _head_texts(request: MessagesRequest) -> list[str]:
    """System prompt and tools, and the turns of the system, as texts."""
    turns = [message for message in request.messages if message.role == "system"]
    told = [block.text for turn in turns for block in turn.content if isinstance(block, TextBlock)]
    return [*fixed_texts(request), *told]
