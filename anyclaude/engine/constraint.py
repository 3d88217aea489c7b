"""Which token an answer may go on with: one answer's grammar, followed token by token.

Text is free until a call begins, so most of the time there is no mask at all. A constraint never
raises: whatever goes wrong ends it, with a note, and the answer goes on unconstrained.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import mlx.core as mx

from anyclaude.dialect import Dialect
from anyclaude.grammar.calls import AnswerGrammar, answer_grammar
from anyclaude.grammar.prose import Prose
from anyclaude.grammar.schema import Loss
from anyclaude.grammar.vocabulary import GrammarRefused, TokenMatcher, Vocabulary
from anyclaude.types import MessagesRequest, ThinkingMarkers, ToolDefinition

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

log = logging.getLogger(__name__)

_REMEMBERED = 32
_State = Literal["thinking", "free", "maybe", "call", "end", "off"]


class AnswerPlan:
    """One compiled :class:`AnswerGrammar`, for any number of answers."""

    def __init__(self, grammar: AnswerGrammar, vocabulary: Vocabulary) -> None:
        """Raises :class:`GrammarRefused`."""
        self.grammar = grammar
        self.vocabulary = vocabulary
        self._whole = vocabulary.compile(grammar.lark) if grammar.lark else None
        self._opened: TokenMatcher | None = None
        if self._whole is not None and grammar.mode == "free" and grammar.start:
            self._opened = self._whole.fresh()
            if not self._opened.takes(vocabulary.marker(grammar.start)):
                raise GrammarRefused(f"no call of the grammar begins with {grammar.start}")
        start = grammar.start.encode()
        self._completions = vocabulary.completions(start) if start else {}
        self._masks: dict[tuple[int, ...], bytes | None] = {}

    @property
    def key(self) -> str:
        return self.grammar.key

    @property
    def losses(self) -> tuple[Loss, ...]:
        return self.grammar.losses

    def begin(self, thinking: ThinkingMarkers | None) -> Constraint:
        """The constraint of one answer."""
        return Constraint(self, thinking)

    def whole(self) -> TokenMatcher:
        """A matcher at the start of a call or answer."""
        assert self._whole is not None
        return self._whole.fresh()

    def opened(self) -> TokenMatcher:
        """A matcher behind a call's opening marker."""
        assert self._opened is not None
        return self._opened.fresh()

    def prose_mask(self, begun: tuple[int, ...]) -> bytes | None:
        """The mask where so many bytes of the marker are there: ``None`` forbids nothing."""
        begun = tuple(size for size in begun if size in self._completions)
        if begun not in self._masks:
            bad = {
                token
                for size in begun
                for token, beyond in self._completions[size]
                if self._opened is None or not self.opened().takes_text(beyond)
            }
            self._masks[begun] = self.vocabulary.without(bad) if bad else None
        return self._masks[begun]


class Constraint:
    """Follows one answer: :meth:`took` every token in turn, then ask for the :meth:`mask`."""

    __slots__ = ("_head", "_matcher", "_plan", "_prose", "_state", "_tail", "_thinking", "note")

    def __init__(self, plan: AnswerPlan, thinking: ThinkingMarkers | None) -> None:
        self._plan = plan
        self._thinking = thinking if thinking is not None and thinking.end else None
        self._state: _State = "off"
        self._matcher: TokenMatcher | None = None
        self._prose = Prose(plan.grammar.start.encode())
        self._head: bytes | None = b""
        self._tail = b""
        self.note = ""
        if self._thinking is not None and self._thinking.opened:
            self._state, self._head = "thinking", None
        else:
            self._answer()

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the grammar doesn't have of the schema of an answer in JSON."""
        return self._plan.losses

    @property
    def active(self) -> bool:
        """Whether a later token may be constrained."""
        return self._state != "off"

    @property
    def holds(self) -> bool:
        """Whether the next token is masked, whatever the last one is found to be."""
        return self._state in ("call", "end")

    @property
    def in_call(self) -> bool:
        """Whether the grammar holds now."""
        return self._state == "call"

    def took(self, token: int) -> None:
        """``token`` was added to the answer."""
        if self._state == "off":
            return
        try:
            self._took(token)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")

    def mask(self) -> bytes | None:
        """One bit for each token that may come next, the lowest first; ``None`` for all."""
        try:
            match self._state:
                case "free":
                    return self._plan.prose_mask(self._prose.begun())
                case "call":
                    return self._call_mask()
                case "end":
                    return self._plan.vocabulary.end_only
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")
        return None

    # ------------------------------------------------------------------------------ the states

    def _answer(self) -> None:
        """Reasoning is over, or there is none."""
        match self._plan.grammar.mode:
            case "whole":
                self._state, self._matcher = "call", self._plan.whole()
            case "free" if not self._plan.grammar.start:
                self._state, self._matcher = "maybe", self._plan.whole()
            case _:
                self._state = "free"

    def _took(self, token: int) -> None:
        vocabulary = self._plan.vocabulary
        if token in vocabulary.eos:
            self._state = "off"  # One more pass runs after the end; what it says is dropped.
            return
        text = vocabulary.text(token)
        match self._state:
            case "thinking":
                self._think(text)
            case "call":
                self._in_call(token)
            case "maybe":
                self._may_be_call(token, text)
            case "free":
                self._free(text)
            case "end":
                self._fail("the answer went on behind its end")

    def _think(self, text: bytes) -> None:
        assert self._thinking is not None
        end = self._thinking.end.encode()
        whole = self._tail + text
        _, found, beyond = whole.partition(end)
        if not found:
            self._tail = whole[len(whole) - len(end) + 1 :] if len(whole) >= len(end) else whole
            return
        self._tail = b""
        self._answer()
        if beyond and self._state == "free":
            self._free(beyond)
        elif beyond and self._matcher is not None and not self._matcher.takes_text(beyond):
            self._answer()  # The rest of the token is said as text, ahead of the calls.

    def _opens_thinking(self, text: bytes) -> bool:
        """Whether the model opens reasoning by itself, which it can only do at the start."""
        if self._head is None or self._thinking is None or not self._thinking.start:
            return False
        start = self._thinking.start.encode()
        self._head = head = (self._head + text).lstrip()
        if head.startswith(start):
            self._state, self._head = "thinking", None
            self._think(head[len(start) :])
            return True
        if not start.startswith(head):
            self._head = None
        return False

    def _free(self, text: bytes) -> None:
        if self._opens_thinking(text):
            return
        beyond = self._prose.take(text)
        if beyond is None:
            return
        if self._plan.grammar.mode == "closed":
            self._prose = Prose(self._plan.grammar.start.encode())
            return
        matcher = self._plan.opened()
        if matcher.takes_text(beyond):
            self._enter(matcher)
        else:
            self._fail("a token opened a call and broke it")

    def _enter(self, matcher: TokenMatcher) -> None:
        self._matcher, self._state = matcher, "call"
        if matcher.over:
            self._call_over()

    def _in_call(self, token: int) -> None:
        assert self._matcher is not None
        if not self._matcher.take(token):
            self._fail(self._matcher.error or "a token that may not come")
        elif self._matcher.over:
            self._call_over()

    def _call_over(self) -> None:
        assert self._matcher is not None
        grammar = self._plan.grammar
        if self._matcher.error:
            self._fail(self._matcher.error)
        elif grammar.once or grammar.mode == "whole":
            self._state = "end"
        elif grammar.start:
            self._state, self._prose = "free", Prose(grammar.start.encode())
        else:
            self._state = "off"

    def _may_be_call(self, token: int, text: bytes) -> None:
        """An answer that may yet turn out to be a call, of a family without a marker."""
        if self._opens_thinking(text):
            return
        self._tail += text
        if not self._tail.strip():
            return
        assert self._matcher is not None
        if not self._matcher.takes([token]):
            self._state = "off"
        elif any(name.encode() + sign in self._tail for name in self._plan.grammar.names
                 for sign in (b'"', b"(")):  # fmt: skip
            self._enter(self._matcher)

    def _call_mask(self) -> bytes | None:
        assert self._matcher is not None
        mask = self._matcher.mask()
        if error := self._matcher.error:
            self._fail(error)
            return None
        if not any(mask):
            self._fail("no token may come")
            return None
        return mask

    def _fail(self, reason: str) -> None:
        self._state, self.note = "off", reason.strip().splitlines()[0][:300]
        log.warning("a grammar was let go of: %s", self.note)


def allowed(constraints: Sequence[Constraint | None], logits: mx.array) -> mx.array:
    """``logits`` of shape (rows, vocabulary) with what a row's constraint forbids at -inf."""
    masks = [None if c is None else c.mask() for c in constraints]
    if all(mask is None for mask in masks):
        return logits
    import numpy as np  # When a model is there; a start should not wait for it.

    width = logits.shape[-1]
    table = np.ones((len(masks), width), np.bool_)
    for row, mask in zip(table, masks, strict=True):
        if mask is not None:
            bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[:width]
            row[: len(bits)] = bits
            row[len(bits) :] = False
    return mx.where(mx.array(table), logits, mx.array(-np.inf, logits.dtype))


class Constraints:
    """What one model's answers can be held to. Any thread; plans are kept by their content."""

    def __init__(self, tokenizer: TokenizerWrapper, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._eos = eos
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._useless = ""
        self._plans: OrderedDict[str, AnswerPlan | None] = OrderedDict()

    def vocabulary(self) -> Vocabulary | None:
        """Made when first asked for; ``None`` for a tokenizer that can't be used."""
        with self._lock:
            if self._vocabulary is None and not self._useless:
                try:
                    self._vocabulary = Vocabulary(_tokenizer_json(self._tokenizer), self._eos)
                except Exception as error:
                    self._useless = f"{type(error).__name__}: {error}"
                    log.warning("answers can't be constrained: %s", self._useless)
            return self._vocabulary

    def plan(
        self,
        request: MessagesRequest,
        dialect: Dialect | None,
        tools: Sequence[ToolDefinition] = (),
        *,
        inside: bool = False,
    ) -> AnswerPlan | None:
        """What ``request`` holds its answer to; ``tools`` are those that may be called.

        ``inside``: the answer goes on in a section of calls.

        ``None`` when it asks for nothing, or nothing can be done, which is then in the log.
        """
        if not tools and request.output_schema is None:
            return None
        vocabulary = self.vocabulary()
        if vocabulary is None:
            return None
        grammar = answer_grammar(
            dialect,
            tools,
            request.tool_choice,
            request.output_schema,
            vocabulary.terminal,
            inside=inside,
        )
        if grammar is None:
            return None
        with self._lock:
            if grammar.key in self._plans:
                self._plans.move_to_end(grammar.key)
                return self._plans[grammar.key]
        plan: AnswerPlan | None = None
        try:
            plan = AnswerPlan(grammar, vocabulary)
        except GrammarRefused as error:
            log.warning("an answer can't be constrained: %s", error)
        with self._lock:
            self._plans[grammar.key] = plan
            while len(self._plans) > _REMEMBERED:
                self._plans.popitem(last=False)
        return plan


@functools.lru_cache(maxsize=1)
def constraints_of(tokenizer: TokenizerWrapper, eos: frozenset[int]) -> Constraints:
    """Those of the model that is loaded; the one before it is let go."""
    return Constraints(tokenizer, eos)


def _tokenizer_json(tokenizer: TokenizerWrapper) -> str:
    """Raises :class:`AttributeError` for a slow tokenizer."""
    inner = tokenizer._tokenizer
    copy = type(inner.backend_tokenizer).from_str(inner.backend_tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    text: str = copy.to_str()
    return text
