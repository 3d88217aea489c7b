"""Clients that ask at random, leave at random, and look at everything that they are told."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from anyclaude.bench.grammar import check_error, check_message, check_sse

MODELS = ("claude-opus-5", "claude-sonnet-5", "claude-haiku-5")
PATIENCE_S = 600.0
"""Far longer than every time limit of the server's together: beyond it a request has been lost."""
COMMON = 40
"""How many prompts are asked again and again."""
SESSION_TURNS = 20
LEAVES = 0.03
SYSTEM = "You are a careful assistant. " * 70
BASH = {
    "name": "Bash",
    "description": "Runs a command",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}


@dataclass(slots=True)
class Tally:
    """What came of the requests. ``wrong`` is empty when all of it was as it should be."""

    sent: int = 0
    heard: int = 0
    """Requests that were answered to their end, well or badly."""
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _waiting: list[tuple[int, asyncio.Event]] = field(default_factory=list)

    def send(self) -> None:
        """Another request goes out."""
        self.sent += 1
        for count, event in self._waiting:
            if count <= self.sent:
                event.set()

    async def until(self, sent: int) -> None:
        """Returns once so many requests have gone out."""
        waiting = (sent, asyncio.Event())
        self._waiting.append(waiting)
        if self.sent < sent:
            await waiting[1].wait()
        self._waiting.remove(waiting)

    def note(self, outcome: str, problems: list[str], about: str) -> None:
        self.heard += 1
        self.outcomes[outcome] += 1
        self.wrong += [f"{about}: {problem}" for problem in problems[:3]]


class Crowd:
    """``count`` clients of the server at ``address``. They stop once ``over`` says so.

    ``think_s`` is the longest pause between two requests of one.
    """

    def __init__(
        self, address: str, count: int, seed: int, think_s: float, over: Callable[[Tally], bool]
    ) -> None:
        self._address = address
        self._count = count
        self._seed = seed
        self._think_s = think_s
        self._over = over
        self._numbers = itertools.count()
        self.tally = Tally()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        async with httpx.AsyncClient(
            base_url=self._address,
            trust_env=False,
            timeout=httpx.Timeout(PATIENCE_S),
            limits=httpx.Limits(keepalive_expiry=1.0),
        ) as http:
            for turn in itertools.count():
                if self._over(self.tally):
                    return
                session = f"session-{number}-{turn // SESSION_TURNS}"
                await self._turn(http, rng, session)
                await asyncio.sleep(rng.uniform(0, self._think_s))

    async def _turn(self, http: httpx.AsyncClient, rng: random.Random, session: str) -> None:
        path, body = self._request(rng)
        headers = {
            "x-api-key": "local",
            "anthropic-version": "2023-06-01",
            "x-claude-code-session-id": session,
        }
        about = f"request {next(self._numbers)} ({body['model']})"
        self.tally.send()
        leaves = rng.random() < LEAVES
        asking = asyncio.create_task(self._ask(http, path, body, headers, about, leaves=leaves))
        if leaves and rng.random() < 0.5:
            await asyncio.sleep(rng.uniform(0, 0.05))
            asking.cancel()
            await asyncio.wait([asking])
            self.tally.outcomes["left before an answer"] += asking.cancelled()
        else:
            await asking

    def _request(self, rng: random.Random) -> tuple[str, dict[str, Any]]:
        if rng.random() < 0.2:
            text = f"Common question number {rng.randrange(COMMON)}"
        else:
            text = f"A question that nobody asked before, {rng.getrandbits(80):x}"
        if rng.random() < 0.01:
            text = f"{text}\n" + "A long file. " * 8_000
        body: dict[str, Any] = {
            "model": rng.choice(MODELS),
            "system": SYSTEM,
            "messages": [{"role": "user", "content": text}],
        }
        if rng.random() < 0.5:
            body["tools"] = [BASH]
        if rng.random() < 0.02:
            return "/v1/messages/count_tokens", body
        return "/v1/messages?beta=true", {
            **body,
            "max_tokens": 200,
            "stream": rng.random() < 0.7,
        }

    async def _ask(
        self,
        http: httpx.AsyncClient,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        about: str,
        *,
        leaves: bool,
    ) -> None:
        tally = self.tally
        try:
            sent = http.stream("POST", path, content=json.dumps(body), headers=headers)
            async with sent as response:
                said = b""
                async for piece in response.aiter_raw():
                    said += piece
                    if leaves:
                        tally.outcomes["left in the middle"] += 1
                        return
            tally.note(*verdict(response.status_code, response.headers, said), about)
        except httpx.HTTPError as error:
            tally.note("broken", [f"{type(error).__name__}: {error}"], about)


def verdict(status: int, headers: Mapping[str, str], said: bytes) -> tuple[str, list[str]]:
    """What the answer is, and what is wrong with it."""
    try:
        text = said.decode()
        if headers.get("content-type", "").startswith("text/event-stream"):
            read = check_sse(text.split("\n")[:-1])
            return ("an error event" if read.error else "a whole stream"), read.problems
        value = json.loads(text)
    except ValueError as error:
        return f"status {status}", [f"not to be read: {error}"]
    if status != 200:
        return f"status {status}", check_error(value)
    if "input_tokens" in value:
        return "a count", []
    return "a whole body", check_message(value)
