"""The prompt as the model is shown it: system texts and tools within a tier, and checked.

What the client's users and tools said is never touched: only the system prompt, turns of the
role system and the definitions of tools are. The result depends on these texts alone, so the
same prompt is shortened to the same bytes in every turn. A result that lacks something it must
have is thrown away, and the untouched prompt is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from anyclaude.prompt.canonical import definition_text
from anyclaude.prompt.deferring import LOADER, deferred_names, without_loader
from anyclaude.prompt.shorten import Part, Short, UserRule, shorten
from anyclaude.prompt.tiers import LIMITS, Limits, PromptTier
from anyclaude.prompt.tool_shapes import parameters, shown_tool
from anyclaude.prompt.weighing import IMPORTANCE, Kind
from anyclaude.types import Message, MessagesRequest, TextBlock, ToolDefinition

_MOST_KEPT = 32
"""Prompts whose short form is remembered: one for each kind of agent and project in use."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A part, and where in the request it stands: ``system.0``, ``tools.Read``, ``messages.1``."""

    place: str
    part: Part


@dataclass(frozen=True, slots=True)
class Shown:
    """What a tier makes of a request.

    ``failure`` says why the untouched prompt is used after all; empty when the check held. ``id``
    is the same for requests whose system texts, tools and tier are the same.
    """

    request: MessagesRequest
    tier: PromptTier
    id: str = ""
    parts: tuple[Placed, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Head:
    """The short form of what a conversation begins with: system texts and tools."""

    id: str
    system: tuple[TextBlock, ...]
    tools: tuple[ToolDefinition, ...]
    parts: tuple[Placed, ...]
    seen: frozenset[str]
    failure: str = ""


@dataclass(slots=True)
class Optimiser:
    """Shortens prompts, each once. Safe to be called from several threads."""

    rules: Sequence[UserRule] = ()
    _heads: OrderedDict[str, _Head] = field(default_factory=OrderedDict)
    _turns: OrderedDict[str, Short] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def show(self, request: MessagesRequest, tier: PromptTier) -> Shown:
        """The request as the model is shown it; with the tier off it is ``request`` itself."""
        limits, whole = LIMITS.get(tier), without_loader(request)
        if limits is None:
            return Shown(whole, PromptTier.OFF)
        request = request if limits.defers else whole
        head = self._head(request, tier, limits)
        if head.failure:
            return Shown(whole, tier, head.id, (), head.failure)
        messages, parts, failure = self._messages(request, head, limits)
        if failure:
            return Shown(whole, tier, head.id, (), failure)
        short = replace(request, system=head.system, tools=head.tools, messages=messages)
        said = "\0".join([head.id, *(f"{p.place} {p.part.before}" for p in parts)])
        digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return Shown(short, tier, digest, (*head.parts, *parts))

    # ------------------------------------------------------------------------------- the head

    def _head(self, request: MessagesRequest, tier: PromptTier, limits: Limits) -> _Head:
        digest = hashlib.sha256(tier.value.encode())
        for block in request.system:
            digest.update(b"\0s" + block.text.encode("utf-8", "surrogatepass"))
        for tool in request.tools:
            digest.update(b"\0t" + definition_text(tool).encode("utf-8", "surrogatepass"))
        key = digest.hexdigest()[:16]
        with self._lock:
            if (known := self._heads.get(key)) is not None:
                self._heads.move_to_end(key)
                return known
        made = self._make_head(request, key, limits)
        with self._lock:
            self._heads[key] = made
            while len(self._heads) > _MOST_KEPT:
                self._heads.popitem(last=False)
        return made

    def _make_head(self, request: MessagesRequest, key: str, limits: Limits) -> _Head:
        names = [tool.name for tool in request.tools]
        seen: set[str] = set()
        parts: list[Placed] = []
        system: list[TextBlock] = []
        for index, block in enumerate(request.system):
            short = shorten(block.text, limits, names, self.rules, seen)
            parts += [Placed(f"system.{index}", part) for part in short.parts]
            if short.text:
                system.append(replace(block, text=short.text))
        text = "\n\n".join(block.text for block in system)
        failure = _lost(parts, text)
        tools: list[ToolDefinition] = []
        later = deferred_names(request.tools)
        for tool in request.tools:
            if tool.name == LOADER or tool.name in later:
                tools += [tool] if tool.name == LOADER else []
                parts.append(_deferred_part(tool))
                continue
            shown, rules = shown_tool(tool, limits, self.rules)
            tools.append(shown)
            parts.append(_tool_part(tool, shown))
            failure = failure or _broken(tool, shown, rules, limits)
        return _Head(key, tuple(system), tuple(tools), tuple(parts), frozenset(seen), failure)

    # ------------------------------------------------------------------------ turns of the system

    def _messages(
        self, request: MessagesRequest, head: _Head, limits: Limits
    ) -> tuple[tuple[Message, ...], tuple[Placed, ...], str]:
        names = [tool.name for tool in request.tools]
        messages: list[Message] = []
        parts: list[Placed] = []
        for index, message in enumerate(request.messages):
            if message.role != "system":
                messages.append(message)
                continue
            content: list[TextBlock] = []
            for block in message.content:
                if not isinstance(block, TextBlock):
                    break
                short = self._turn(block.text, head, limits, names)
                found = [Placed(f"messages.{index}", part) for part in short.parts]
                if failure := _lost(found, short.text):
                    return request.messages, (), failure
                parts += found
                content.append(replace(block, text=short.text))
            else:
                kept = tuple(block for block in content if block.text)
                if kept:
                    messages.append(replace(message, content=kept))
                    continue
            messages.append(message)
        return tuple(messages), tuple(parts), ""

    def _turn(self, text: str, head: _Head, limits: Limits, names: Sequence[str]) -> Short:
        """A text of a system turn; only the head counts as said before, for that never changes."""
        key = head.id + text
        with self._lock:
            if (known := self._turns.get(key)) is not None:
                self._turns.move_to_end(key)
                return known
        made = shorten(text, replace(limits, reorder=False), names, self.rules, set(head.seen))
        with self._lock:
            self._turns[key] = made
            while len(self._turns) > 8 * _MOST_KEPT:
                self._turns.popitem(last=False)
        return made


# ------------------------------------------------------------------------------------ the check


def _lost(parts: Sequence[Placed], text: str) -> str:
    """Which protected part isn't in ``text`` byte for byte; empty when all are."""
    for placed in parts:
        part = placed.part
        if part.protected and part.before not in text:
            return f"{placed.place} lost a part that must stay: {part.title}"
    return ""


def _broken(
    tool: ToolDefinition, shown: ToolDefinition, rules: Sequence[str], limits: Limits
) -> str:
    """What a tool as it is shown lacks; empty when it has all that a call needs."""
    if shown.name != tool.name:
        return f"tools.{tool.name} lost its name"
    before, after = parameters(tool.input_schema), parameters(shown.input_schema)
    if before != after:
        lost = sorted(name for name in before if after.get(name) is not before[name])
        return f"tools.{tool.name} lost parameters: {', '.join(lost)}"
    if limits.tool is not None:
        for rule in rules:
            if rule not in shown.description:
                return f"tools.{tool.name} lost a rule: {rule[:72]}"
    return ""


def _deferred_part(tool: ToolDefinition) -> Placed:
    """A tool that is only named, or the one that names them and is ours."""
    text, ours = definition_text(tool), tool.name == LOADER
    part = Part(
        tool.name,
        Kind.TOOL_RULE,
        IMPORTANCE[Kind.TOOL_RULE],
        False,
        "added" if ours else "deferred",
        "" if ours else text,
        text if ours else "",
    )
    return Placed(f"tools.{tool.name}", part)


def _tool_part(tool: ToolDefinition, shown: ToolDefinition) -> Placed:
    before, after = definition_text(tool), definition_text(shown)
    part = Part(
        tool.name,
        Kind.TOOL_RULE,
        IMPORTANCE[Kind.TOOL_RULE],
        False,
        "kept" if before == after else "shortened",
        before,
        after,
    )
    return Placed(f"tools.{tool.name}", part)


def user_rules(
    keep: Sequence[str], drop: Sequence[str], replace: Sequence[tuple[str, str]]
) -> tuple[UserRule, ...]:
    """The rules of the configuration, the one that decides first; the patterns are sound."""
    return (
        *(UserRule(re.compile(pattern, re.MULTILINE), "keep") for pattern in keep),
        *(UserRule(re.compile(pattern, re.MULTILINE), "drop") for pattern in drop),
        *(
            UserRule(re.compile(pattern, re.MULTILINE), "replace", text)
            for pattern, text in replace
        ),
    )


def rules_digest(rules: Sequence[UserRule]) -> str:
    """The same for the same rules: what is made by other rules is another prompt."""
    said = [(rule.pattern.pattern, rule.action, rule.text) for rule in rules]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
