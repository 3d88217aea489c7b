"""Sends recorded requests again, one after the other, and says what became of each."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import httpx

from anyclaude.bench.client import CACHE_HEADER, UNCACHED, fields_of
from anyclaude.bench.grammar import check_error, check_message, check_sse
from anyclaude.bench.recording import COUNT, Recorded
from anyclaude.bench.sse import lines_of
from anyclaude.errors import Unavailable
from anyclaude.types import JsonValue

_TIMEOUT = httpx.Timeout(None, connect=5.0)  # a prefill may take as long as it likes


@dataclass(slots=True)
class Replayed:
    """One request's fate. Times are seconds; ``problems`` is empty for a well-formed answer.

    ``prompt``, ``reused`` and ``disk`` are tokens as the server's header has them, ``disk``
    those of the reused that came from the SSD.
    """

    number: int
    name: str
    status: int = 0
    prompt: int = 0
    reused: int = 0
    disk: int = 0
    tier: str = ""
    cause: str = ""
    ttft: float | None = None
    duration: float = 0.0
    stop_reason: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Summary:
    """All of a replay; ``bad`` counts the answers that weren't well-formed."""

    requests: int
    refused: int
    bad: int
    prompt: int
    reused: int
    disk: int
    ttft_median: float | None

    @classmethod
    def of(cls, replayed: Sequence[Replayed]) -> Summary:
        waits = [one.ttft for one in replayed if one.ttft is not None]
        return cls(
            requests=len(replayed),
            refused=sum(one.status != 200 for one in replayed),
            bad=sum(bool(one.problems) for one in replayed),
            prompt=sum(one.prompt for one in replayed),
            reused=sum(one.reused for one in replayed),
            disk=sum(one.disk for one in replayed),
            ttft_median=statistics.median(waits) if waits else None,
        )

    def line(self) -> str:
        share = f" ({100 * self.reused / self.prompt:.1f} %)" if self.prompt else ""
        disk = f", {self.disk} of them from disk" if self.disk else ""
        wait = "" if self.ttft_median is None else f"; median TTFT {self.ttft_median:.3f} s"
        bad = f"{self.bad} not well-formed" if self.bad else "all well-formed"
        return (
            f"{self.requests} request{'' if self.requests == 1 else 's'}, {self.refused} refused,"
            f" {bad}; {self.reused} of {self.prompt} prompt tokens reused{share}{disk}{wait}"
        )


async def replay(
    recording: Iterable[Recorded], address: str, api_key: str
) -> AsyncIterator[Replayed]:
    """Each request's fate as it ends; raises Unavailable when nothing answers at all."""
    async with httpx.AsyncClient(base_url=address, timeout=_TIMEOUT, trust_env=False) as http:
        for number, recorded in enumerate(recording, 1):
            yield await _send(http, number, recorded, api_key)


async def _send(http: httpx.AsyncClient, number: int, recorded: Recorded, api_key: str) -> Replayed:
    fate = Replayed(number, recorded.name)
    kept = [pair for pair in recorded.headers if pair[0] != UNCACHED[0]]
    headers = [*kept, ("content-type", "application/json"), ("x-api-key", api_key), UNCACHED]
    started = time.perf_counter()
    try:
        async with http.stream(
            "POST", recorded.path, content=recorded.body, headers=headers
        ) as response:
            _from_headers(fate, response)
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                await _stream(fate, response, started)
            else:
                await response.aread()
                _whole(fate, response, recorded.path)
    except httpx.ConnectError as error:
        raise Unavailable(f"nothing answers at {http.base_url} ({error})") from error
    except httpx.HTTPError as error:
        fate.problems.append(f"the connection broke: {error or type(error).__name__}")
    fate.duration = time.perf_counter() - started
    return fate


def _from_headers(fate: Replayed, response: httpx.Response) -> None:
    fate.status = response.status_code
    told = fields_of(response.headers.get(CACHE_HEADER, ""))
    fate.prompt, fate.reused = _count(told, "prompt"), _count(told, "reused")
    fate.disk = _count(told, "disk")
    fate.tier, fate.cause = told.get("tier", ""), told.get("cause", "")


def _count(told: Mapping[str, str], name: str) -> int:
    value = told.get(name, "")
    return int(value) if value.isdigit() else 0


async def _stream(fate: Replayed, response: httpx.Response, started: float) -> None:
    lines: list[str] = []
    try:
        async for line in lines_of(response):
            if fate.ttft is None and line.startswith("event: content_block_delta"):
                fate.ttft = time.perf_counter() - started
            lines.append(line)
    finally:
        verdict = check_sse(lines)
        fate.problems += verdict.problems
        fate.stop_reason = verdict.stop_reason or ("error" if verdict.error else "")


def _whole(fate: Replayed, response: httpx.Response, path: str) -> None:
    try:
        body: object = json.loads(response.content)
    except ValueError as error:
        fate.problems.append(f"the answer is not JSON ({error})")
        return
    if response.status_code != 200:
        fate.problems += check_error(body)
        fate.stop_reason = "error"
    elif path == COUNT:
        count = body.get("input_tokens") if isinstance(body, dict) else None
        if isinstance(count, int):
            fate.prompt = count
        else:
            fate.problems.append(f"input_tokens is {count}")
    else:
        fate.problems += check_message(body)
        fate.stop_reason = str(body.get("stop_reason")) if isinstance(body, dict) else ""


def as_json(replayed: Sequence[Replayed], address: str) -> dict[str, JsonValue]:
    """Every request and the sum of them."""
    requests: list[JsonValue] = [asdict(one) for one in replayed]
    return {"address": address, "requests": requests, "summary": asdict(Summary.of(replayed))}
