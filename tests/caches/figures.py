"""``python -m tests.caches.figures``: how long a repeated request takes, by the tier that has it.

Over HTTP, from the request's first byte to the answer's last, on a server in a process of its own.
The requests are of the size that Claude Code's are. Each is asked once of every tier, since what a
slower one has is put into memory then.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from anyclaude.bench.grammar import check_sse
from anyclaude.config.settings import (
    BackendSettings,
    CacheSettings,
    RouteSettings,
    ServerSettings,
    Settings,
)
from tests.caches.shared.test_shared_real import SERVER, Redis
from tests.soak.server import Server, serving

QUESTIONS = 200
WHATS = "What's"
ANSWER = ("The answer is in the third paragraph of the file. " * 60).strip()
TOOLS = [
    {
        "name": f"Tool{number}",
        "description": "Does one of the many things that an agent needs. " * 50,
        "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
    }
    for number in range(12)
]


def settings(folder: Path, redis: Redis | None) -> Settings:
    script = folder / "script.toml"
    script.write_text(f'[[answers]]\nwhen = ""\nsays = {json.dumps(ANSWER)}\n', "utf-8")
    return Settings(
        folder,
        folder / "log.duckdb",
        server=ServerSettings(port=0),
        cache=CacheSettings(
            response_disk=True,
            semantic=True,
            redis_url=f"unix://{redis.socket}" if redis is not None else "",
        ),
        backends=(("said", BackendSettings(type="scripted", script=str(script))),),
        routes=(RouteSettings("*", ("said",)),),
    )


def request(number: int, *, tools: bool = True, short: bool = False) -> dict[str, Any]:
    asked = f"{'What is' if short else WHATS} the size of file number {number}?"
    body = {
        "model": "claude-opus-5",
        "max_tokens": 2000,
        "stream": True,
        "system": "You are a careful assistant. " * 700,
        "messages": [{"role": "user", "content": asked}],
    }
    return {**body, "tools": TOOLS} if tools else body


async def ask(server: Server, requests: Sequence[dict[str, Any]], tier: str) -> list[float]:
    """Seconds of each; all must come from ``tier``, as whole streams."""
    times = []
    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as http:
        for one in requests:
            body = json.dumps(one).encode()
            begun = time.perf_counter()
            async with http.post(f"{server.address}/v1/messages", data=body) as answer:
                said = await answer.read()
                assert answer.status == 200, said
            times.append(time.perf_counter() - begun)
            told = answer.headers["x-anyclaude-cache"]
            assert f"tier={tier};" in told, told
            read = check_sse(said.decode().split("\n")[:-1])
            assert (read.problems, read.text) == ([], ANSWER), read.problems
    return times


@asynccontextmanager
async def shared(folder: Path) -> AsyncIterator[Redis | None]:
    redis = Redis(folder) if SERVER else None
    if redis is not None:
        await redis.start()
    try:
        yield redis
    finally:
        if redis is not None:
            await redis.stop()


async def figures(folder: Path) -> dict[str, list[float]]:
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    asked = [request(number) for number in range(QUESTIONS)]
    plain = [request(number, tools=False) for number in range(QUESTIONS)]
    otherwise = [request(number, tools=False, short=True) for number in range(QUESTIONS)]
    found: dict[str, list[float]] = {}
    async with shared(folder) as redis:
        async with serving(settings(one, redis)) as server:
            await ask(server, asked, "none")
            await ask(server, plain, "none")
            found["response"] = await ask(server, asked, "response")
            found["semantic"] = await ask(server, otherwise, "semantic")
        async with serving(settings(one, None)) as server:
            found["response-disk"] = await ask(server, asked, "response-disk")
        if redis is not None:
            async with serving(settings(two, redis)) as server:
                found["shared"] = await ask(server, asked, "shared")
    return found


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="anyclaude-tiers-") as folder:
        found = asyncio.run(figures(Path(folder)))
    size = len(json.dumps(request(1)))
    lines = [
        f"{QUESTIONS} requests of {size / 1000:.0f} KB for each, answers of {len(ANSWER)} letters",
        "",
        "| tier | p50 | p95 |",
        "| --- | ---: | ---: |",
    ]
    for tier, times in found.items():
        cuts = statistics.quantiles(times, n=20)
        lines.append(f"| `{tier}` | {cuts[9] * 1000:.1f} ms | {cuts[18] * 1000:.1f} ms |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
