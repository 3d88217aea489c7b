"""What the tree, vitals, backends and searches rooms are shown in tests."""

from __future__ import annotations

import math

from anyclaude.control import BackendInfo, PrefixNode, PrefixTreePicture
from anyclaude.events import Event, SearchMade
from anyclaude.records import SearchRecord
from tests.tui.fake_source import MODEL, NOON, FakeSource, request, session, vitals
from tui.state import Store

SESSION = "5f0c9a52-3d1e-4f6b-9a57-c0ffee000001"
OTHER = "91ab7720-8c4d-4e0f-b1c2-c0ffee000002"
THIRD = "d0337e61-17aa-4b3d-8f55-c0ffee000003"
MB = 1024 * 1024


def edge(
    id: int,
    parent: int | None,
    start: int,
    tokens: int,
    text: str,
    *,
    sessions: tuple[str, ...] = (SESSION,),
    age: float = 0.0,
    megabytes: int | None = None,
    on_disk: bool = False,
    pinned: bool = False,
    running: int = 0,
) -> PrefixNode:
    """An edge whose bytes follow from its tokens unless they are given."""
    size = tokens * 22_528 if megabytes is None else megabytes * MB
    return PrefixNode(
        id, parent, start, tokens, size, on_disk, pinned, running, sessions, NOON - age, text
    )


def picture() -> PrefixTreePicture:
    """Three sessions on one system prompt, a fork with a subagent, a title, and old disk runs."""
    everyone = (SESSION, OTHER, THIRD)
    head = "<|im_start|>system You are Claude Code, Anthropic's official CLI"
    parser = "<|im_start|>user Fix the [bold]parser[/bold], please."
    quick = "<|im_start|>assistant I'll read the failing test, then change"
    nodes = (
        edge(1, None, 0, 13_240, head, sessions=everyone, on_disk=True, pinned=True, running=1),
        edge(
            2, 1, 13_240, 3_310, parser, on_disk=True, pinned=True, running=1, sessions=everyone[:2]
        ),
        edge(3, 2, 16_550, 1_180, quick, pinned=True, running=1, sessions=everyone[:2]),
        edge(4, 3, 17_730, 3_050, "<tool_response> 1 def parse(text):", pinned=True, running=1),
        edge(5, 3, 17_730, 2_020, "<tool_response> FAILED tests/x.py", sessions=(OTHER,), age=130),
        edge(6, 5, 19_750, 640, "<|im_start|>assistant Now the lexer", sessions=(OTHER,), age=128),
        edge(7, 1, 13_240, 5_400, "<|im_start|>user Write the docs", sessions=(THIRD,), age=7_300),
        edge(
            8,
            7,
            18_640,
            2_300,
            "<|im_start|>assistant 建て直します 🙂 docs/index.md",
            sessions=(),
            age=90_000,
            megabytes=0,
            on_disk=True,
        ),
        edge(9, None, 0, 812, "<|im_start|>system Write a 5-10 word title", age=298),
        edge(
            10,
            None,
            0,
            6_120,
            "<|im_start|>system You are an agent for",
            sessions=(),
            age=260_000,
            megabytes=0,
            on_disk=True,
        ),
    )
    return PrefixTreePicture(MODEL, nodes, 12)


def backends() -> tuple[BackendInfo, ...]:
    return (
        BackendInfo("mlx", "mlx", True, 1, 400.0, "ready"),
        BackendInfo("anthropic", "anthropic", False, 0, None, "no answer in 30 s [tls]: timed out"),
        BackendInfo(
            "studio",
            "openai",
            False,
            2,
            1_400.0,
            "503 the server is restarting",
            "http://127.0.0.1:1234/v1",
            1,
            "open",
            22.0,
            0.62,
            ("qwen3-coder-30b-a3b", "gemma-3-12b"),
        ),
    )


def source() -> FakeSource:
    """A server with all of that."""
    found = FakeSource()
    found.fake.tree = picture()
    found.fake.served = backends()
    return found


def minutes(store: Store, seconds: int = 280) -> None:
    """Figures once a second up to noon, with a load in the middle and a pause in it."""
    for second in range(seconds, -1, -1):
        at = NOON - second
        wave = math.sin(second / 23)
        if 150 < second < 162:
            continue
        busy = second % 97 < 64
        store.apply(
            vitals(
                at=at,
                decode_tps=max(0.0, 38 + 6 * wave + second % 5) if busy else 0.0,
                prefill_tps=1900.0 + 300 * wave if second % 31 < 6 else 0.0,
                ttft_p50_ms=None if second > 250 else 380 + 120 * wave,
                ttft_p95_ms=None if second > 250 else 900 + 500 * abs(wave),
                memory_bytes=int(22.8e9 - second * 9e6),
                mlx_active_bytes=int(20e9 - second * 8e6),
                mlx_busy=0.7 + 0.2 * wave if busy else 0.02,
                loop_lag_p99_ms=1.2 + (60 if second == 120 else second % 3),
                running=(1 + (second % 53 < 20)) if busy else 0,
                waiting=2 if 80 < second < 110 else 0,
            ),
            at,
        )
        if second % 25 == 0:
            store.history.admitted(18_000 if second % 50 else 9_000, 21_000, at)


def busy() -> list[Event]:
    """The usual session, and one of another session."""
    return [*session(), *request("a3e1", NOON - 400)]


def searches() -> list[Event]:
    """Searches of the session's requests: unasked, asked for, cached and failed ones."""
    id = "req_0000000000000000{}".format
    rows = (
        (170, SearchRecord(id("a3f1"), "duckduckgo", "mlx quantized kv cache", 5, 640, 720.0)),
        (160, SearchRecord(id("a3f2"), "brave", "textual 8 theme api [bold]x[/]", 8, 1_120, 410.0)),
        (140, SearchRecord(id("a3f3"), "brave", "textual 8 theme api", 8, 1_120, 0.4, True)),
        (
            95,
            SearchRecord(
                id("a3f4"),
                "tavily",
                "duckdb appender api",
                error="too_many_requests: tavily answered 429; it is asked again in 20 s",
                ms=130.0,
            ),
        ),
        (60, SearchRecord(id("a3f4"), "searxng", "検索 what is new in duckdb", 3, 402, 1_730.0)),
    )
    return [
        SearchMade(NOON - age, row, inserted=place in (0, 4))
        for place, (age, row) in enumerate(rows)
    ]
