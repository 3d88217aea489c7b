"""A backend that says what a script says, without any model: for trying out and for tests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from anyclaude.backend import (
    Admission,
    BackendEvent,
    BackendRequest,
    Delta,
    Finish,
    FinishReason,
    Prefill,
)
from anyclaude.dialect import Dialect
from anyclaude.errors import EngineFailed
from anyclaude.script import Script
from anyclaude.types import (
    Block,
    MediaBlock,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ThinkingMarkers,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

PREFILL_CHUNK = 512
_TOKEN = re.compile(r"\s*[^\W_]{1,5}|\s*\S|\s+")


@dataclass(frozen=True, slots=True)
class ScriptedOptions:
    """``dialect`` is the one that the script's calls are written in, ``None`` for no calls."""

    name: str
    script: Script
    dialect: Dialect | None = None
    thinking: ThinkingMarkers | None = None
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)


class ScriptedBackend:
    """See :class:`anyclaude.backend.Backend`. The same request gets the same events."""

    def __init__(self, options: ScriptedOptions) -> None:
        self._options = options

    @property
    def name(self) -> str:
        return self._options.name

    @property
    def fingerprint(self) -> str:
        return f"script {self._options.script.digest}"

    async def open(self, request: BackendRequest) -> ScriptedGeneration:
        if request.resume is not None:
            raise EngineFailed(f"{self.name} can't go on with an answer that was begun")
        options, asked = self._options, request.request
        prompt = prompt_text(asked)
        turns = sum(message.role == "assistant" for message in asked.messages)
        says = options.script.answer(prompt, turns)
        admission = Admission(
            backend=self.name,
            model=request.model or asked.model,
            usage=Usage(len(tokens(prompt))),
            tier=None,
            dialect=options.dialect,
            thinking=options.thinking,
            rendered_prompt=prompt,
        )
        return ScriptedGeneration(admission, asked, says, options)

    async def count(self, request: BackendRequest) -> int:
        return len(tokens(prompt_text(request.request)))


class ScriptedGeneration:
    """See :class:`anyclaude.backend.Generation`."""

    def __init__(
        self, admission: Admission, request: MessagesRequest, says: str, options: ScriptedOptions
    ) -> None:
        self._admission = admission
        self._options = options
        self._steps = self._plan(request, says)
        self._cancelled = False

    @property
    def admission(self) -> Admission:
        return self._admission

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        for event, seconds in self._steps:
            if seconds:
                await self._options.sleep(seconds)
            if self._cancelled:
                raise EngineFailed("the answer was cancelled")
            yield event

    async def cancel(self) -> None:
        self._cancelled = True

    def _plan(self, request: MessagesRequest, says: str) -> Iterator[tuple[BackendEvent, float]]:
        """Every event with the time that it takes."""
        script, total = self._options.script, self._admission.usage.input_tokens
        for done in range(0, total, PREFILL_CHUNK):
            read = min(PREFILL_CHUNK, total - done)
            yield Prefill(done + read, total), read / script.prefill if script.prefill else 0.0
        stop, cut = _first_stop(says, request.stop_sequences)
        said = tokens(says[:cut])
        reason: FinishReason = "stop_sequence" if stop is not None else "stop"
        if len(said) > request.max_tokens:
            said, reason, stop = said[: request.max_tokens], "length", None
        pause = 1 / script.decode if script.decode else 0.0
        for text in said:
            yield Delta(text, 1), pause
        usage = Usage(total, output_tokens=len(said))
        spent = (total / script.prefill if script.prefill else 0.0, pause * len(said))
        yield (
            Finish(
                reason,
                usage,
                stop_sequence=stop,
                prefill_ms=spent[0] * 1000,
                decode_ms=spent[1] * 1000,
            ),
            0.0,
        )


def tokens(text: str) -> list[str]:
    """``text`` in pieces, about as large as a model's tokens; all together they are ``text``."""
    return _TOKEN.findall(text)


def prompt_text(request: MessagesRequest) -> str:
    """All that a request says, for a script to look into."""
    parts = [block.text for block in request.system]
    parts += [f"{tool.name}: {tool.description}" for tool in request.tools]
    for message in request.messages:
        parts += [f"[{message.role}]", *(_text(block) for block in message.content)]
    return "\n".join(parts)


def _text(block: Block) -> str:
    match block:
        case TextBlock():
            return block.text
        case ThinkingBlock():
            return block.thinking
        case ToolUseBlock():
            return f"{block.name} {dict(block.input)}"
        case ToolResultBlock():
            return "\n".join(_text(part) for part in block.content)
        case MediaBlock():
            return block.data if block.source == "text" else f"[{block.kind}]"
        case ToolReferenceBlock():
            return block.tool_name
        case OpaqueBlock():
            return f"[{block.type}]"


def _first_stop(text: str, stops: tuple[str, ...]) -> tuple[str | None, int]:
    """The stop sequence that ends ``text``, and where."""
    found = [(text.find(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return None, len(text)
    at, stop = min(found, key=lambda pair: (pair[0] + len(pair[1]), pair[0]))
    return stop, at
