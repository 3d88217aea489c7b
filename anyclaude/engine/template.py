"""A request into the exact tokens that the model is given.

Two promises hold for every template that allows it: a prompt that continues a conversation is a
token-for-token extension of the earlier prompt and what the model then generated, and the tokens
are those that tokenising the whole text at once would give. Nothing here calls MLX; rendering
may run on any thread.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from anyclaude.backend import EchoTurn
from anyclaude.dialect import Dialect
from anyclaude.engine.dialects import Path, hidden_paths, own_dialect
from anyclaude.engine.template_bounds import Bounds, Source, common_length, mark
from anyclaude.engine.template_heads import Heads
from anyclaude.engine.template_messages import (
    Conversion,
    StandIn,
    ToolFallback,
    Traits,
    Turn,
    shape,
    wants_thinking,
)
from anyclaude.engine.template_probe import Probe, Seam, TemplateRefused
from anyclaude.engine.template_render import TextRenderer
from anyclaude.engine.template_splice import Insert, Unspliced, splice, stand_in
from anyclaude.engine.token_runs import TokenRuns, join
from anyclaude.errors import InvalidRequest
from anyclaude.types import (
    MessagesRequest,
    TextBlock,
    ThinkingMarkers,
    Tokens,
    ToolDefinition,
    ToolUseBlock,
)

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

__all__ = ["ChatTemplate", "Rendered", "ToolFallback", "common_length"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt. All figures count tokens from its start.

    ``system_tokens`` covers what every conversation with this system prompt and these tools
    begins with, ``mark_tokens`` what lies before the end of the message with the last cache
    mark (0 without one), ``tail_start`` is where the generation tail begins. ``message_ends``
    has for each message where it ends: a conversation that is cut there and goes on in another
    way begins with the same tokens. They never decrease; a message whose end can't be told has
    that of the one before. ``notes`` say what could not be given to the model as the client
    sent it.
    """

    tokens: Tokens
    text: str
    system_tokens: int
    mark_tokens: int
    tail_start: int
    thinking: ThinkingMarkers | None
    notes: tuple[str, ...]
    message_ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Composed:
    """A conversation as runs of text and tokens, the generation tail (if any) last."""

    runs: list[str | Tokens]
    tail: str
    notes: tuple[str, ...]
    source: Source

    def without_tail(self) -> list[str | Tokens]:
        *rest, last = self.runs
        return [*rest, last.removesuffix(self.tail) if isinstance(last, str) else last]


class ChatTemplate:
    """One model's chat template. Everything it can't take is found out when this is made."""

    def __init__(
        self,
        tokenizer: TokenizerWrapper,
        fallback: ToolFallback,
        *,
        model_type: str = "",
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        self._tokenizer = tokenizer
        self._fallback = fallback
        self._render = TextRenderer(tokenizer, now())
        self._markers: tuple[str, str] | None = (
            (tokenizer.think_start, tokenizer.think_end) if tokenizer.has_thinking else None
        )
        self._runs = TokenRuns(tokenizer._tokenizer)
        self._ends = tuple(
            sorted(
                {
                    text
                    for token in tokenizer.eos_token_ids
                    if (text := tokenizer.decode([token], skip_special_tokens=False))
                }
            )
        )
        self._eos = frozenset(tokenizer.eos_token_ids)
        native = own_dialect(tokenizer, fallback.choose, model_type)
        self._probe = Probe(self._render, parser=native.name if native else None)
        self._traits = self._probe.traits
        self._seams: dict[tuple[str, bool], Seam | None] = {}
        self._tails: dict[tuple[str, bool], str | None] = {}
        self._heads = Heads(self._begun, self._traits, fallback)
        self._bounds = Bounds(self._probe, self._runs, self._ends)
        self._decode = functools.lru_cache(maxsize=512)(self.decode)
        self.dialect: Dialect = (
            native if native is not None and self._traits.tools else fallback.dialect
        )
        self.tools: Literal["template", "fallback"] = (
            "template" if self._traits.tools else "fallback"
        )
        self.has_thinking = self._markers is not None

    def encode(self, text: str) -> Tokens:
        """Text that a model may have written, as tokens."""
        return self._encode([text])

    def render(self, request: MessagesRequest, echoes: Sequence[EchoTurn] = ()) -> Rendered:
        """The prompt for the answer to ``request``.

        ``echoes`` replace assistant turns by the tokens that were generated for them; one that
        can't be placed is rendered as the client sent it, with a note. Raises
        :class:`InvalidRequest` when the template refuses the conversation in every form.
        """
        composed = self._compose(request, echoes, tail=True)
        pieces = [self._runs.pieces(r) if isinstance(r, str) else r for r in composed.runs]
        tokens = join(pieces)
        tail_start = common_length(tokens, self._encode(composed.without_tail()))
        system_tokens = common_length(tokens, self._heads.of(request))
        return Rendered(
            tokens=tokens,
            text="".join(r if isinstance(r, str) else self._decode(r) for r in composed.runs),
            system_tokens=system_tokens,
            mark_tokens=self._mark(request, echoes, tokens, system_tokens, tail_start),
            tail_start=tail_start,
            thinking=self._thinking(composed.runs[-1]),
            notes=tuple(dict.fromkeys(composed.notes)),
            message_ends=self._bounds.message_ends(
                len(request.messages), composed.source, pieces, tail_start
            ),
        )

    def hidden(self, tool: ToolDefinition) -> tuple[Path, ...]:
        """What of a tool's ``description`` and ``input_schema`` the prompts don't show."""
        if not self._traits.tools:
            return ()
        turns = shape([{"role": "user", "content": "x"}], self._traits)
        return hidden_paths(lambda function: self._render(turns, tools=[function]), tool)

    def decode(self, tokens: Tokens) -> str:
        """The text of some tokens, special ones included."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))

    # --------------------------------------------------------------------------- composing

    def _compose(
        self, request: MessagesRequest, echoes: Sequence[EchoTurn], *, tail: bool
    ) -> _Composed:
        """Renders with echoes in place; those that don't fit are dropped one by one."""
        kept = {
            echo.message_index: echo
            for echo in echoes
            if 0 <= echo.message_index < len(request.messages)
            and request.messages[echo.message_index].role == "assistant"
        }
        notes: list[str] = []
        prefill = _prefill(request) if tail else None
        while True:
            try:
                composed = self._attempt(request, kept, self._traits, tail=tail, prefill=prefill)
                return replace(composed, notes=(*composed.notes, *notes))
            except Unspliced as failure:
                where = f"messages.{failure.message_index}"
                if kept.pop(failure.message_index, None) is not None:
                    notes.append(f"{where}: echo not reused: {failure}")
                else:
                    prefill = None
                    notes.append(f"{where}: answered, not continued: {failure}")
            except TemplateRefused as refusal:
                if not kept:
                    return self._strictly(request, refusal, tail=tail)
                kept = {}
                notes.append(f"echoes not reused: the template refused them: {refusal}")

    def _strictly(
        self, request: MessagesRequest, refusal: TemplateRefused, *, tail: bool
    ) -> _Composed:
        """One more try, with the conversation in the shape that all templates take."""
        strict = replace(
            self._traits,
            system_anywhere=False,
            repeated_roles=False,
            user_after_tool=False,
            assistant_first=False,
        )
        try:
            return self._attempt(request, {}, strict, tail=tail)
        except TemplateRefused:
            raise InvalidRequest(
                f"the loaded model's chat template refuses this conversation: {refusal}",
                field="messages",
            ) from refusal

    def _attempt(
        self,
        request: MessagesRequest,
        echoes: Mapping[int, EchoTurn],
        traits: Traits,
        *,
        tail: bool,
        prefill: str | None = None,
    ) -> _Composed:
        thinking = wants_thinking(request)
        stand_ins: dict[int, StandIn] = {}
        for index in echoes:
            uses = any(isinstance(b, ToolUseBlock) for b in request.messages[index].content)
            stand_ins[index] = stand_in(index, traits.calls_as_calls and uses)
        last = len(request.messages) - 1
        if prefill is not None:
            echoes = {index: echo for index, echo in echoes.items() if index != last}
            stand_ins[last] = stand_in(last, False)
        conversion = Conversion(request, traits, self._fallback, stand_ins)
        turns = conversion.run()
        text = self._render_whole(request, turns, traits, tail=tail and prefill is None)
        roles = _roles_before(turns, {s.mark: index for index, s in stand_ins.items()})
        inserts: dict[int, Insert] = {}
        for index in sorted(stand_ins):
            role = roles.get(index, "")
            seam = self._seam(role, stand_ins[index].as_call)
            echo = echoes.get(index)
            # What came before the tokens depends on the request that they answered.
            seen = self._tail(role, echo.thinking if echo is not None else thinking)
            if seam is None or seen is None:
                raise Unspliced(index, f"no place for it after a {role or 'missing'} turn")
            tokens = self._without_end(echo.tokens) if echo is not None else ()
            inserts[index] = Insert(stand_ins[index], seam, seen, tokens)
        spliced = splice(text, inserts, self._ends, self._thinking_markers())
        runs, spans = spliced.runs, spliced.spans
        ending = self._tail(str(turns[-1]["role"]), thinking) if tail and turns else None
        if prefill is not None:
            head, ending = runs[-3], inserts[last].tail
            assert isinstance(head, str)
            closing = self._closed_thought(ending)
            runs[-3:] = [head + closing + prefill]
            del spans[-1], stand_ins[last]
            ending += closing + prefill
        elif ending is None or not (isinstance(runs[-1], str) and runs[-1].endswith(ending)):
            ending = ""
        whole = functools.partial(self._render_whole, request, traits=traits, tail=False)
        source = Source(
            text,
            spans,
            stand_ins,
            thinking,
            lambda: whole(turns=conversion.marked(mark)),
        )
        return _Composed(runs, ending, tuple(conversion.notes), source)

    def _closed_thought(self, tail: str) -> str:
        markers = self._thinking(tail)
        return f"\n{markers.end}\n\n" if markers is not None and markers.opened else ""

    def _without_end(self, tokens: Tokens) -> Tokens:
        return tokens[:-1] if tokens and tokens[-1] in self._eos else tokens

    def _seam(self, role: str, as_call: bool) -> Seam | None:
        key = (role, as_call)
        if key not in self._seams:
            self._seams[key] = self._probe.seam(role, as_call)
        return self._seams[key]

    def _tail(self, role: str, thinking: bool) -> str | None:
        key = (role, thinking)
        if key not in self._tails:
            self._tails[key] = self._probe.tail(role, thinking)
        return self._tails[key]

    # --------------------------------------------------------------------------- rendering

    def _render_whole(
        self, request: MessagesRequest, turns: Sequence[Turn], traits: Traits, *, tail: bool
    ) -> str:
        tools = [tool.function for tool in request.tools] if traits.tools else []
        render = self._render.with_fixed_tools if traits.tools_move else self._render
        return render(turns, tools=tools, tail=tail, thinking=wants_thinking(request))

    def _begun(self, request: MessagesRequest, turns: Sequence[Turn]) -> Tokens:
        return self._encode([self._render_whole(request, turns, self._traits, tail=False)])

    def _encode(self, runs: Sequence[str | Tokens]) -> Tokens:
        return join([self._runs.pieces(r) if isinstance(r, str) else r for r in runs])

    # ----------------------------------------------------------------------------- figures

    def _mark(
        self,
        request: MessagesRequest,
        echoes: Sequence[EchoTurn],
        tokens: Tokens,
        system_tokens: int,
        tail_start: int,
    ) -> int:
        mark = request.cache_mark
        if mark is None:
            return 0
        if mark < 0:
            return system_tokens
        if mark >= len(request.messages) - 1:
            return tail_start
        part = replace(request, messages=request.messages[: mark + 1])
        earlier = [echo for echo in echoes if echo.message_index <= mark]
        composed = self._compose(part, earlier, tail=False)
        return min(tail_start, common_length(tokens, self._encode(composed.runs)))

    def _thinking_markers(self) -> ThinkingMarkers | None:
        return ThinkingMarkers(*self._markers) if self._markers else None

    def _thinking(self, last_run: str | Tokens) -> ThinkingMarkers | None:
        """The markers, opened when the prompt ends inside a thought."""
        if self._markers is None:
            return None
        start, end = self._markers
        opened = isinstance(last_run, str) and last_run.rstrip().endswith(start)
        return ThinkingMarkers(start, end, opened)


def _prefill(request: MessagesRequest) -> str | None:
    """The words an answer has to begin with: a last turn that is the assistant's own text."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "assistant":
        return None
    texts = [block.text for block in last.content if isinstance(block, TextBlock)]
    return "\n".join(texts).rstrip() if len(texts) == len(last.content) else None


def _roles_before(turns: Sequence[Turn], marks: Mapping[str, int]) -> dict[int, str]:
    """For each mark's message, the role of the turn in front of it."""
    found: dict[int, str] = {}
    for before, turn in itertools.pairwise(turns):
        if turn["role"] == "assistant":
            written = json.dumps([turn["content"], turn.get("tool_calls")])
            found |= {at: str(before["role"]) for mark, at in marks.items() if mark in written}
    return found
