"""From the pieces of an answer to segments, as :mod:`anyclaude.dialect` has them.

Calls don't nest there, and servers may send pieces of several by turns: what comes for a later
one, and text behind one that isn't finished, waits until the first is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from anyclaude.backend import FinishReason
from anyclaude.backends.openai.calls import Call, CallBook
from anyclaude.backends.openai.chunks import Chunk
from anyclaude.backends.openai.names import Names
from anyclaude.backends.openai.tags import StopWatch, ThinkTags
from anyclaude.dialect import (
    CallBroken,
    CallClose,
    CallOpen,
    CallPiece,
    Segment,
    TextPiece,
    ThinkingEnd,
    ThinkingPiece,
)

_WINDOW = frozenset({"model_context_window_exceeded"})  # Zhipu
_LENGTH = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"}) | _WINDOW
_FILTERED = frozenset(
    {
        *("content_filter", "refusal", "sensitive"),  # OpenAI, Anthropic, Zhipu
        *("safety", "recitation", "blocklist", "prohibited_content", "spii"),  # Google
    }
)
_BUSY = frozenset({"insufficient_system_resource"})  # DeepSeek
_FAILED = frozenset({"error", "abort", "network_error"}) | _BUSY


@dataclass(slots=True)
class _Words:
    kind: Literal["text", "thinking"]
    text: str


class Decoder:
    """One answer. ``thought`` is told of every finished run of reasoning.

    ``think_tags``: reasoning may come as ``<think>`` in the text. ``stops`` end the answer here,
    since the server doesn't know of them; :attr:`stop` is the one that was met, here or there.
    """

    def __init__(
        self,
        names: Names,
        thought: Callable[[str], None],
        *,
        think_tags: bool,
        stops: Sequence[str] = (),
    ) -> None:
        self._names = names
        self._thought = thought
        self._tags = ThinkTags() if think_tags else None
        self._watch = StopWatch(stops)
        self._book = CallBook(names)
        self._queue: deque[Call | _Words] = deque()
        self._kind: Literal["", "text", "thinking", "call"] = ""
        self._space = ""
        """White space that may turn out to be the end of what it stands in."""
        self._behind_thought = False
        """Whether reasoning came that had nothing in it, and no text yet."""
        self._reasoning = ""
        self._heard: dict[str, list[str]] = {"text": [], "thinking": []}
        """All of a kind that came, for servers that say it once more at the end."""
        self.stop: str | None = None
        self.finish_reason: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence was met that the server doesn't know of."""
        return self._watch.met is not None

    @property
    def spoke(self) -> bool:
        """Whether anything of the answer was there yet."""
        return bool(self._kind or self._queue or self._space)

    def feed(self, chunk: Chunk) -> list[Segment]:
        """The segments that ``chunk`` completes or continues."""
        self.finish_reason = chunk.finish.lower() if chunk.finish else self.finish_reason
        self.stop = chunk.stop or self.stop
        if self.stopped:
            return []
        self._hear("thinking", chunk.reasoning, chunk.complete)
        self._hear("text", chunk.text, chunk.complete)
        if not (chunk.complete and self._book.any) and not self.stopped:
            for delta in chunk.calls:
                if (call := self._book.add(delta)) is not None:
                    self._flush()
                    self._queue.append(call)
        return self._pump()

    def finish(self) -> list[Segment]:
        """What is left when the answer is over."""
        self._flush()
        complete = self.finish_reason not in _LENGTH | _FILTERED | _FAILED
        out = self._pump()
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Call):
                out += self._close(head, complete or head.readable)
            out += self._pump()
        if self._kind == "thinking":
            out += self._end_thinking()
        elif self._space and self._kind != "call":
            out.append(TextPiece(self._space))
        self._space = ""
        return out

    # ------------------------------------------------------------------------------- coming in

    def _hear(self, kind: Literal["text", "thinking"], text: str, complete: bool) -> None:
        heard = self._heard[kind]
        if complete and heard:
            # The message again as a whole: only what is new in it counts.
            before = "".join(heard)
            text = text[len(before) :] if text.startswith(before) else ""
        if not text:
            return
        heard.append(text)
        if kind == "text" and self._tags is not None:
            thought, text = self._tags.feed(text)
            self._words("thinking", thought)
        if kind == "text":
            text = self._watch.feed(text)
            self.stop = self._watch.met or self.stop
        self._words(kind, text)

    def _flush(self) -> None:
        """Text that waited for more of itself is said, since something else follows."""
        if self._tags is not None:
            thought, text = self._tags.finish()
            self._words("thinking", thought)
            self._words("text", self._watch.feed(text))
        self._words("text", self._watch.finish())

    def _words(self, kind: Literal["text", "thinking"], text: str) -> None:
        if not text:
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(last, _Words) and last.kind == kind:
            last.text += text
        elif not (isinstance(last, Call) and not text.strip()):
            self._queue.append(_Words(kind, text))

    # ------------------------------------------------------------------------------ going out

    def _pump(self) -> list[Segment]:
        """All that can be told now: up to the first call that isn't over."""
        out: list[Segment] = []
        while self._queue:
            head = self._queue[0]
            if isinstance(head, _Words):
                self._queue.popleft()
                out += self._text(head.text) if head.kind == "text" else self._think(head.text)
                continue
            if len(self._queue) > 1 and (head.readable or head.whole):
                out += self._close(head, True)
                continue
            told = head.progress(self._names)
            return [*out, *self._enter(head), *told] if told else out
        return out

    def _close(self, call: Call, complete: bool) -> list[Segment]:
        self._queue.popleft()
        call.over = True
        return [*self._enter(call), *call.close(self._names, complete)]

    def _enter(self, call: Call) -> list[Segment]:
        """A call is about to be told of."""
        if call.before is not None:
            return []
        call.before = self._space if self._kind in ("", "text") else ""
        self._space = ""
        out = self._end_thinking() if self._kind == "thinking" else []
        self._kind = "call"
        return out

    def _text(self, text: str) -> list[Segment]:
        behind = self._behind_thought or self._kind in ("thinking", "call")
        text = text.lstrip() if behind else self._space + text
        self._behind_thought = behind and not text
        said = text.rstrip()
        if not said:
            self._space = text
            return []
        out = self._end_thinking() if self._kind == "thinking" else []
        self._space = text[len(said) :]
        self._kind = "text"
        return [*out, TextPiece(said)]

    def _think(self, text: str) -> list[Segment]:
        text = self._space + text if self._kind == "thinking" else text.lstrip()
        said = text.rstrip()
        if not said:
            self._space = text if self._kind == "thinking" else ""
            self._behind_thought = True
            return []
        self._space = text[len(said) :]
        self._kind = "thinking"
        self._reasoning += said
        return [ThinkingPiece(said)]

    def _end_thinking(self) -> list[Segment]:
        self._thought(self._reasoning)
        self._reasoning = self._space = ""
        return [ThinkingEnd()]


def outcome(reason: str | None, stop: str | None) -> FinishReason:
    """Why an answer ended, in the pipeline's words; calls are seen from its segments."""
    if stop is not None or reason == "stop_sequence":
        return "stop_sequence"
    return "length" if reason in _LENGTH else "stop"


def refused(reason: str | None) -> bool:
    """Whether a filter ended the answer."""
    return reason in _FILTERED


def failed(reason: str | None) -> bool:
    """Whether the server says by it that it broke off."""
    return reason in _FAILED


def busy(reason: str | None) -> bool:
    """Whether it broke off since others left it no room."""
    return reason in _BUSY


def over_window(reason: str | None) -> bool:
    """Whether the model's window was full."""
    return reason in _WINDOW


def shown(segments: Iterable[Segment]) -> str:
    """What a person is shown of segments while they come; a call as its ``raw`` has it."""
    parts: list[str] = []
    for segment in segments:
        match segment:
            case TextPiece() | ThinkingPiece():
                parts.append(segment.text)
            case CallOpen():
                parts.append(f"{segment.name} ")
            case CallPiece():
                parts.append(segment.json)
            case CallBroken():
                parts.append(segment.before + segment.raw)
            case ThinkingEnd() | CallClose():
                pass
    return "".join(parts)
