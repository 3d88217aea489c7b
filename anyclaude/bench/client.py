"""Two streaming HTTP clients that time every piece of an answer: ours, and OpenAI's API.

The connection is open before the clock starts, and proxies of the environment are ignored.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import httpx

from anyclaude.bench.sse import lines_of
from anyclaude.bench.workload import Prompt
from anyclaude.errors import AnyclaudeError

TIMEOUT = httpx.Timeout(900.0, connect=5.0)
# Our servers speak plain HTTP on loopback. Reading the system's certificates for each connection
# would hold up the clock of the others by 20 ms.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CACHE_HEADER = "x-anyclaude-cache"
UNCACHED = ("x-anyclaude-cache-control", "no-cache, no-store")
"""Of every request: what is measured is the answering, not the finding of old answers."""


@dataclass(slots=True)
class Answer:
    """One streamed answer. Instants are ``time.perf_counter`` seconds.

    ``pieces`` are the instants at which content came; token counts are the server's own.
    ``cache`` holds the fields of our cache header, empty for a peer.
    """

    sent_at: float
    pieces: list[float] = field(default_factory=list)
    ended_at: float = 0.0
    text: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    cache: Mapping[str, str] = field(default_factory=dict)

    @property
    def ttft(self) -> float:
        """Seconds to the first content, or to the end of an answer without any."""
        return (self.pieces[0] if self.pieces else self.ended_at) - self.sent_at

    @property
    def rate(self) -> float:
        """Decoded tokens per second, the first one apart; 0 for fewer than two pieces."""
        if len(self.pieces) < 2:
            return 0.0
        return (self.output_tokens - 1) / (self.pieces[-1] - self.pieces[0])

    def gaps(self, start: float = 0.0, stop: float = float("inf")) -> list[float]:
        """Seconds between neighbouring pieces, of those gaps that touch ``start`` to ``stop``."""
        pairs = zip(self.pieces, self.pieces[1:], strict=False)
        return [after - before for before, after in pairs if after >= start and before <= stop]


class Dialect(Protocol):
    """How one API is asked and how its stream is read."""

    health: str

    def request(self, prompt: Prompt, max_tokens: int) -> tuple[str, dict[str, object]]:
        """The path and the body."""
        ...

    def read(self, answer: Answer, event: Mapping[str, Any]) -> str:
        """The content of one event; token counts go into ``answer``.

        Raises AnyclaudeError for an error event.
        """
        ...


class Anthropic:
    """The Messages API."""

    health = "/health/live"

    def request(self, prompt: Prompt, max_tokens: int) -> tuple[str, dict[str, object]]:
        mark = {"type": "ephemeral"}
        system = [{"type": "text", "text": prompt.system, "cache_control": mark}]
        choice = {"type": "any", "disable_parallel_tool_use": True}
        return "/v1/messages", {
            "model": "bench",
            "max_tokens": max_tokens,
            "stream": True,
            "temperature": 0.0,
            "system": system,
            "messages": prompt.messages(),
            **({"tools": [prompt.tool], "tool_choice": choice} if prompt.tool else {}),
        }

    def read(self, answer: Answer, event: Mapping[str, Any]) -> str:
        match event.get("type"):
            case "message_start":
                usage = event["message"]["usage"]
                answer.prompt_tokens = (
                    usage["input_tokens"]
                    + usage["cache_read_input_tokens"]
                    + usage["cache_creation_input_tokens"]
                )
            case "content_block_delta":
                delta = event["delta"]
                kinds = ("text", "thinking", "partial_json")
                return next((delta[kind] for kind in kinds if delta.get(kind)), "")
            case "message_delta":
                answer.output_tokens = event["usage"]["output_tokens"]
            case "error":
                raise AnyclaudeError(f"the stream ended in {event.get('error')}")
        return ""


class OpenAI:
    """The chat completions API of ``mlx_lm.server``."""

    health = "/health"

    def request(self, prompt: Prompt, max_tokens: int) -> tuple[str, dict[str, object]]:
        return "/v1/chat/completions", {
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.0,
            "messages": [{"role": "system", "content": prompt.system}, *prompt.messages()],
        }

    def read(self, answer: Answer, event: Mapping[str, Any]) -> str:
        if usage := event.get("usage"):
            answer.prompt_tokens = usage["prompt_tokens"]
            answer.output_tokens = usage["completion_tokens"]
        if "error" in event:
            raise AnyclaudeError(f"the stream ended in {event['error']}")
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            kinds = ("content", "reasoning", "reasoning_content")
            return next((delta[kind] for kind in kinds if delta.get(kind)), "")
        return ""


class Running:
    """An answer that is still being given."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._more = asyncio.Event()
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    async def pieces(self, count: int) -> bool:
        """Waits for the answer to have ``count`` pieces; false if it ended with fewer."""
        while len(self.answer.pieces) < count and not self._ended:
            self._more.clear()
            await self._more.wait()
        return len(self.answer.pieces) >= count

    async def over(self) -> None:
        """Waits for the end of the answer."""
        while not self._ended:
            self._more.clear()
            await self._more.wait()

    def add(self, text: str) -> None:
        self.answer.pieces.append(time.perf_counter())
        self.answer.text += text
        self._more.set()

    def end(self) -> None:
        self._ended = True
        self._more.set()


class Client:
    """Asks one server. Every method raises AnyclaudeError when it doesn't answer as it should."""

    def __init__(
        self, name: str, address: str, dialect: Dialect, headers: Mapping[str, str]
    ) -> None:
        self.name = name
        self._dialect = dialect
        self._address = address
        self._headers = dict(headers)

    async def ask(self, prompt: Prompt, max_tokens: int) -> Answer:
        """The whole answer."""
        async with self.stream(prompt, max_tokens) as running:
            await running.over()
        return running.answer

    async def together(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Answer]:
        """The answers of several requests sent at once."""
        tasks = [asyncio.create_task(self.ask(prompt, max_tokens)) for prompt in prompts]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def stream(self, prompt: Prompt, max_tokens: int) -> AsyncIterator[Running]:
        """An answer to be watched; leaving the context hangs up if it still runs."""
        running = Running(Answer(0.0))
        reading = asyncio.create_task(self._read(prompt, max_tokens, running))
        reading.add_done_callback(lambda _: running.end())
        try:
            yield running
        except Exception:
            await _ended(reading)  # says more than what came of it
            raise
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        await _ended(reading)

    async def _read(self, prompt: Prompt, max_tokens: int, running: Running) -> None:
        path, body = self._dialect.request(prompt, max_tokens)
        content = json.dumps(body).encode()
        headers = {**self._headers, "content-type": "application/json"}
        try:
            async with httpx.AsyncClient(
                base_url=self._address, timeout=TIMEOUT, trust_env=False, verify=NO_CERTIFICATES
            ) as http:
                await http.get(self._dialect.health)
                running.answer.sent_at = time.perf_counter()
                async with http.stream("POST", path, content=content, headers=headers) as response:
                    if response.status_code != 200:
                        said = (await response.aread())[:300].decode(errors="replace")
                        raise AnyclaudeError(f"{self.name}: {response.status_code} {said}")
                    running.answer.cache = fields_of(response.headers.get(CACHE_HEADER, ""))
                    await self._lines(response, running)
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise AnyclaudeError(f"{self.name} broke off at {self._address}: {what}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise AnyclaudeError(f"{self.name} answered in another form: {error!r}") from error
        finally:
            running.answer.ended_at = time.perf_counter()

    async def _lines(self, response: httpx.Response, running: Running) -> None:
        async for line in lines_of(response):
            if not line.startswith("data:") or line[5:].strip() == "[DONE]":
                continue
            event = cast("Mapping[str, Any]", json.loads(line[5:]))
            if text := self._dialect.read(running.answer, event):
                running.add(text)


async def _ended(reading: asyncio.Task[None]) -> None:
    """Raises what a task that is done has raised."""
    if reading.done() and not reading.cancelled():
        await reading


def fields_of(header: str) -> dict[str, str]:
    """The fields of ``a=1; b=2``."""
    pairs = (part.partition("=") for part in header.split(";") if "=" in part)
    return {name.strip(): value.strip() for name, _, value in pairs}
