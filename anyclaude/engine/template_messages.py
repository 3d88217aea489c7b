"""A conversation in Anthropic's form, put into the form that chat templates take.

What a template can't take is said another way, and :class:`Traits` says what that is: system
turns in the middle become reminders in a user turn, calls and results become text, turns of one
role are merged. Everything here depends only on a message and those before it, so that a longer
conversation renders as an extension of the shorter one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from anyclaude.dialect import Dialect
from anyclaude.engine.dialects import ChooseDialect
from anyclaude.types import (
    MediaBlock,
    Message,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolDefinition,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

Turn: TypeAlias = dict[str, object]
TurnKind: TypeAlias = Literal["user", "system", "tool", "assistant", "call"]

IMAGE_NOTE = "[image omitted: the model has no vision]"
DOCUMENT_NOTE = "[document omitted: the model reads text only]"
_OPENING = "(The conversation so far was cut.)"


@dataclass(frozen=True, slots=True)
class ToolFallback:
    """How tools are spoken about with a template that has no words for them.

    ``choose`` finds the dialect of one that has.
    """

    dialect: Dialect
    section: Callable[[Sequence[ToolDefinition]], str]
    result: Callable[[str], str]
    choose: ChooseDialect


@dataclass(frozen=True, slots=True)
class Traits:
    """What one template can take, found out by trying.

    ``tools_move``: the template tells the tools before the latest user turn instead of at a
    fixed place. ``calls_as_calls``: a turn that called tools can't be rendered as plain text.
    """

    tools: bool = False
    system_first: bool = True
    system_anywhere: bool = True
    repeated_roles: bool = True
    user_after_tool: bool = True
    assistant_first: bool = True
    parallel_calls: bool = True
    text_arguments: bool = False
    list_content: bool = False
    indexed_call_ids: bool = False
    tools_move: bool = False
    calls_as_calls: bool = False
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class StandIn:
    """Marks that take an assistant message's place while it is rendered: plain content, or a
    call of a tool by that name where the template needs to see one."""

    mark: str
    as_call: bool = False


@dataclass(slots=True)
class Conversion:
    """One request on its way into template turns; ``notes`` collects what was left out."""

    request: MessagesRequest
    traits: Traits
    fallback: ToolFallback
    stand_ins: Mapping[int, StandIn] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _turns: list[Turn] = field(default_factory=list)
    _owners: list[int] = field(default_factory=list)
    _index: int = -1
    _names: dict[str, tuple[str, str]] = field(default_factory=dict)

    def run(self) -> list[Turn]:
        """The turns, shaped as the traits demand."""
        if system := system_text(self.request, self.traits, self.fallback):
            self._add({"role": "system", "content": system})
        for index, message in enumerate(self.request.messages):
            self._index = index
            if message.role == "system":
                self._system(message)
            elif message.role == "assistant":
                self._assistant(index, message)
            else:
                self._user(message)
        return shape(self._turns, self.traits)

    def marked(self, mark: Callable[[int, TurnKind, int], str]) -> list[Turn]:
        """The turns of :meth:`run` once more, a mark at the end of each message's words.

        ``mark`` takes the message's index, the kind of turn, and how much white space the words
        end in: the mark stands before it, as some templates cut it off. A turn with calls has
        it in the name of the last one; empty turns and stand-ins have none.
        """
        turns = [
            turn if owner in {-1, *self.stand_ins} else _marked(turn, owner, mark)
            for turn, owner in zip(self._turns, self._owners, strict=True)
        ]
        return shape(turns, self.traits)

    def _add(self, turn: Turn, at: int | None = None) -> None:
        at = len(self._turns) if at is None else at
        self._turns.insert(at, turn)
        self._owners.insert(at, self._index)

    # ------------------------------------------------------------------------------- roles

    def _system(self, message: Message) -> None:
        content = "\n".join(self._text(block) for block in message.content)
        if self.traits.system_anywhere or not self._turns:
            self._add({"role": "system", "content": content})
        else:
            reminder = f"<system-reminder>\n{content}\n</system-reminder>"
            self._add({"role": "user", "content": reminder})

    def _user(self, message: Message) -> None:
        pending: list[str] = []

        def flush() -> None:
            if pending:
                self._add({"role": "user", "content": "\n".join(pending)})
                pending.clear()

        for block in message.content:
            if not isinstance(block, ToolResultBlock):
                pending.append(self._text(block))
            elif self.traits.tools and block.tool_use_id in self._names:
                flush()
                self._result(block)
            else:
                pending.append(self.fallback.result(self._result_text(block)))
        flush()

    def _result(self, block: ToolResultBlock) -> None:
        name, call_id = self._names[block.tool_use_id]
        turn: Turn = {
            "role": "tool",
            "name": name,
            "tool_call_id": call_id,
            "content": self._result_text(block),
        }
        if not self.traits.parallel_calls:
            self._after_its_call(turn, call_id)
        else:
            self._add(turn)

    def _after_its_call(self, turn: Turn, call_id: str) -> None:
        """Where each call has a turn of its own, its result comes directly after it."""
        for position, earlier in enumerate(self._turns):
            calls = earlier.get("tool_calls")
            if isinstance(calls, list) and any(call["id"] == call_id for call in calls):
                self._add(turn, position + 1)
                return
        self._add(turn)

    def _assistant(self, index: int, message: Message) -> None:
        stand_in = self.stand_ins.get(index)
        texts = [b.text for b in message.content if isinstance(b, TextBlock)]
        texts += [_json(b.raw) for b in message.content if isinstance(b, OpaqueBlock)]
        thinking = [b.thinking for b in message.content if isinstance(b, ThinkingBlock)]
        uses = [b for b in message.content if isinstance(b, ToolUseBlock)]
        calls = [self._call(use) for use in uses]
        if stand_in is not None:
            self._add(self._stand_in_turn(stand_in, calls))
            return
        if not self.traits.tools:
            texts += [self._call_text(use) for use in uses]
            calls = []
        turn: Turn = {"role": "assistant", "content": "\n".join(t for t in texts if t.strip())}
        if self.traits.reasoning and (reasoning := "\n".join(thinking).strip()):
            turn["reasoning_content"] = reasoning
        if self.traits.parallel_calls or len(calls) < 2:
            self._add({**turn, "tool_calls": calls} if calls else turn)
            return
        self._add({**turn, "tool_calls": calls[:1]})
        for call in calls[1:]:
            self._add({"role": "assistant", "content": "", "tool_calls": [call]})

    def _call(self, use: ToolUseBlock) -> dict[str, object]:
        """The call for the template; also notes its name and id for the result to come."""
        call_id = hashlib.sha256(use.id.encode()).hexdigest()[:9]  # Mistral: nine characters
        if self.traits.indexed_call_ids:
            call_id = f"functions.{use.name}:{len(self._names)}"
        self._names[use.id] = (use.name, call_id)
        arguments = _json(use.input) if self.traits.text_arguments else dict(use.input)
        return {
            "type": "function",
            "id": call_id,
            "function": {"name": use.name, "arguments": arguments},
        }

    def _stand_in_turn(self, stand_in: StandIn, calls: Sequence[dict[str, object]]) -> Turn:
        if not (stand_in.as_call and calls):
            return {"role": "assistant", "content": stand_in.mark}
        named: list[dict[str, object]] = []
        for call in calls if self.traits.parallel_calls else calls[:1]:
            arguments = "{}" if self.traits.text_arguments else {}
            name = "x" if named else stand_in.mark
            named.append({**call, "function": {"name": name, "arguments": arguments}})
        return {"role": "assistant", "content": "", "tool_calls": named}

    def _call_text(self, use: ToolUseBlock) -> str:
        return self.fallback.dialect.render(use.name, use.input)

    # ------------------------------------------------------------------------------ blocks

    def _result_text(self, block: ToolResultBlock) -> str:
        content = "\n".join(self._text(part) for part in block.content)
        return f"Error: {content}" if block.is_error else content

    def _text(self, block: object) -> str:
        """A block of a user or system turn as text."""
        match block:
            case TextBlock():
                return block.text
            case ThinkingBlock():
                return block.thinking
            case MediaBlock(source="text"):
                return block.data
            case MediaBlock():
                self.notes.append(f"{block.kind} omitted: the model reads text only")
                return IMAGE_NOTE if block.kind == "image" else DOCUMENT_NOTE
            case ToolReferenceBlock():
                return f"The tool {block.tool_name} is available now."
            case OpaqueBlock():
                return _json(block.raw)
            case ToolUseBlock():
                return self._call_text(block)
            case _:
                raise TypeError(f"no text for a {type(block).__name__}")


def system_text(request: MessagesRequest, traits: Traits, fallback: ToolFallback) -> str:
    """The system prompt, with the tools in words where the template has none for them."""
    parts = [block.text for block in request.system if block.text.strip()]
    if request.tools and not traits.tools:
        parts.append(fallback.section(request.tools).strip("\n"))
    return "\n\n".join(parts)


def wants_thinking(request: MessagesRequest) -> bool:
    """Whether the client asks for reasoning."""
    return request.thinking is not None and request.thinking.enabled


def _marked(turn: Turn, owner: int, mark: Callable[[int, TurnKind, int], str]) -> Turn:
    calls = turn.get("tool_calls")
    if isinstance(calls, list) and calls:
        *first, last = calls
        function = last["function"]
        name = function["name"] + mark(owner, "call", 0)
        return {**turn, "tool_calls": [*first, {**last, "function": {**function, "name": name}}]}
    words = str(turn["content"])
    if not (said := words.rstrip()):
        return turn
    space = words[len(said) :]
    written = mark(owner, cast(TurnKind, turn["role"]), len(space))
    return {**turn, "content": said + written + space}


# -------------------------------------------------------------------------------- the shape


def shape(turns: Sequence[Turn], traits: Traits) -> list[Turn]:
    """The turns in an order and form that the template doesn't refuse."""
    shaped = [dict(turn) for turn in turns]
    if shaped and shaped[0]["role"] == "system" and not traits.system_first:
        shaped[0]["role"] = "user"
    if not traits.repeated_roles or not traits.system_first:
        shaped = _merge(shaped, traits)
    first = next((turn for turn in shaped if turn["role"] != "system"), None)
    if not traits.assistant_first and (first is None or first["role"] != "user"):
        at = shaped.index(first) if first is not None else len(shaped)
        shaped.insert(at, {"role": "user", "content": _OPENING})
    if not traits.user_after_tool:
        shaped = _fold_into_results(shaped)
    if traits.list_content:
        for turn in shaped:
            turn["content"] = [{"type": "text", "text": turn["content"]}]
    return shaped


def _merge(turns: Sequence[Turn], traits: Traits) -> list[Turn]:
    merged: list[Turn] = []
    for turn in turns:
        last = merged[-1] if merged else None
        mergeable = (
            last is not None
            and last["role"] == turn["role"] in ("user", "assistant")
            and "tool_calls" not in last
        )
        if last is None or not mergeable:
            merged.append(turn)
            continue
        merged[-1] = {**last, **turn, "content": _joined(last, turn)}
    return merged


def _fold_into_results(turns: Sequence[Turn]) -> list[Turn]:
    """User text straight after results becomes part of the last result."""
    folded: list[Turn] = []
    for turn in turns:
        if folded and folded[-1]["role"] == "tool" and turn["role"] == "user":
            folded[-1] = {**folded[-1], "content": _joined(folded[-1], turn)}
        else:
            folded.append(turn)
    return folded


def _joined(first: Turn, second: Turn) -> str:
    return "\n\n".join(str(part) for part in (first["content"], second["content"]) if part)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
