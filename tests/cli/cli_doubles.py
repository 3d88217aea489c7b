"""A small server with the admin routes, and a runtime around it for ``serve`` and ``run``."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import click
from click.testing import CliRunner, Result

from anyclaude.config.settings import Settings
from anyclaude.config.state import ServerState, remove_state, write_state
from anyclaude.control import (
    BackendInfo,
    Flushed,
    McpServerInfo,
    ModelInfo,
    PrefixNode,
    PrefixTreePicture,
    SlotTarget,
    Stats,
    Switch,
)
from anyclaude.errors import ConfigError, EngineFailed, Unavailable
from anyclaude.event_json import to_json
from anyclaude.events import Bus, EngineState, RequestFinished, SystemEvent, TierStats, Vitals
from anyclaude.records import (
    RequestDetail,
    RequestRecord,
    SqlResult,
    ToolCallRecord,
    ToolIssue,
    ToolVersion,
)

TOKEN = "admin-token"
AT = 1_800_000_000.0
RECORD = RequestRecord("req_1", AT, model="SmolLM2", input_tokens=90, cache_read_tokens=10,
                       output_tokens=5, status=200, stop_reason="end_turn", ttft_ms=250.0,
                       tokens_per_second=20.0)  # fmt: skip
TIER = TierStats("kv", True, hits=3, misses=1, entries=2, bytes=5_000_000, limit_bytes=10**9)
VITALS = Vitals(AT, 0, 0, 0.0, 0.0, None, None, 1, 2, 3, 0.0, 1.0, (TIER,))
MODEL = ModelInfo("SmolLM2", "/models/SmolLM2", 98_400_000, "4-bit", 8192, "fallback", True, True)
LATE = ToolIssue("", "unchecked", "late")
CALL = ToolCallRecord("req_1", "toolu_1", "Bash", "valid", (LATE,), "{}", "{}")
DETAIL = RequestDetail("req_1", headers=(("a", "b"),), canonical=(("billing", 1),),
                       tool_calls=(CALL,))  # fmt: skip
TOOLS = (
    ToolVersion("Bash", 1, "00aa", AT, AT + 60, True),
    ToolVersion("Bash", 2, "00ff", AT + 60, AT + 90),
)
SLOT = SlotTarget("haiku", "studio/gemma")
MCP = (
    McpServerInfo("files", "stdio", "ready", "fs 1", ("read", "write"), ("read",), ("x: no",)),
    McpServerInfo("web", "http", "failed", "it went away"),
)
SWITCH = Switch("billing_line", True, "Drops a line.", "Prompt")
TREE = PrefixTreePicture(
    "SmolLM2", (PrefixNode(0, None, 0, 9, 40, True, False, 0, ("s",), AT, "<|im_start|>"),), 2
)
BACKEND = BackendInfo("mlx", "mlx", True, 0, None)
EVENTS = (
    EngineState("ready", "SmolLM2", 1.0, "", 8192),
    RequestFinished(RECORD),
    SystemEvent(AT, "warning", "input", "a \x1b[31mred\x1b[0m image"),
)
RESULT = SqlResult(("n", "text"), ((1, "x"), (2, None)))


@dataclass(frozen=True)
class User:
    """Runs commands in process; ``data`` is the data folder."""

    home: Path
    data: Path

    def __call__(self, *arguments: str) -> Result:
        from anyclaude.cli.main import main

        return CliRunner().invoke(main, list(arguments))


class AdminServer:
    """Answers from fixed values; keeps what it was asked in ``asked``, the keys in ``keys``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.engine = EngineState("ready", "SmolLM2", 1.0, "", 8192)
        self.results: list[SqlResult] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None: ...

            def _do(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                outer.asked.append((self.command, self.path, body))
                outer.keys.append(self.headers.get("x-api-key"))
                kind = "application/json"
                if not self.path.startswith("/health") and (
                    self.headers.get("authorization") != f"Bearer {TOKEN}"
                ):
                    status, answer = 403, outer.error("permission_error", "wrong token")
                elif self.path == "/anyclaude/events":
                    lines = [f"data: {json.dumps(to_json(e))}\n\n" for e in EVENTS]
                    status, answer = 200, ": hello\n\n" + "".join(lines)
                    kind = "text/event-stream"
                else:
                    status, value = outer.answer(self.command, self.path, body)
                    answer = value if isinstance(value, str) else json.dumps(value)
                data = answer.encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                if status == 529:
                    self.send_header("retry-after", "3")
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _do

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def state(self) -> ServerState:
        return ServerState(os.getpid(), "127.0.0.1", self.port, TOKEN, time.time(), "SmolLM2")

    @staticmethod
    def error(kind: str, message: str) -> str:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}})

    def stats(self) -> Stats:
        return Stats("0", self.url, 1.0, self.engine, VITALS, 1, 0, 5, 1, 0)

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        match method, parts.path:
            case "GET", "/health/live":
                return 200, {}
            case "GET", "/health/ready":
                return 200 if self.engine.phase == "ready" else 503, {}
            case "GET", "/health":
                return 200, {"status": "ok"}
            case "GET", "/anyclaude/stats":
                return 200, asdict(self.stats())
            case "GET", "/anyclaude/cache":
                return 200, [asdict(TIER)]
            case "DELETE", "/anyclaude/cache":
                tier = query.get("tier", ["kv"])[0]
                if tier != "kv":
                    return 400, self.error("invalid_request_error", f"tier: no tier {tier!r}")
                return 200, [asdict(Flushed("kv", 2, 5_000_000))]
            case "GET", "/anyclaude/models":
                return 200, [asdict(MODEL)]
            case "GET", "/anyclaude/cache/tree":
                return 200, asdict(TREE)
            case "GET", "/anyclaude/switches":
                return 200, [asdict(SWITCH)]
            case "GET", "/anyclaude/slots":
                return 200, [asdict(SLOT)]
            case "PUT", "/anyclaude/cache/pins" | "/anyclaude/admission" | "/anyclaude/switches":
                return 200, body
            case "PUT", "/anyclaude/slots":
                return 200, body
            case "POST", "/anyclaude/models":
                return 202, body
            case "POST", "/anyclaude/requests/req_1/replay":
                return 202, {"id": "req_2"}
            case "POST", "/anyclaude/requests/req_1/reparse":
                return 200, [asdict(CALL)]
            case "PUT", "/anyclaude/model":
                return 202, asdict(self.engine)
            case ("DELETE", "/anyclaude/model") | ("POST", "/anyclaude/engine/restart"):
                return 202, asdict(self.engine)
            case "GET", "/anyclaude/backends":
                return 200, [asdict(BACKEND)]
            case "GET", "/anyclaude/requests":
                return 200, [asdict(RECORD)]
            case "GET", "/anyclaude/requests/req_1":
                return 200, asdict(DETAIL)
            case "GET", "/anyclaude/tools":
                return 200, [asdict(tool) for tool in TOOLS]
            case "GET", "/anyclaude/mcp":
                return 200, [asdict(info) for info in MCP]
            case "POST", "/anyclaude/requests/req_1/cancel":
                return 200, {"cancelled": True}
            case "POST", "/anyclaude/sql":
                if body["query"] == "busy":
                    return 529, self.error("overloaded_error", "the queue is full")
                if body["query"].startswith("bad"):
                    return 400, self.error("invalid_request_error", "query: Parser Error")
                return 200, asdict(self.results.pop(0) if self.results else RESULT)
            case _:
                return 404, self.error("not_found_error", f"no {target}")


@contextmanager
def admin_server() -> Iterator[AdminServer]:
    server = AdminServer()
    try:
        yield server
    finally:
        server.close()


class Runtime:
    """In place of ``anyclaude.runtime.Runtime`` in a process of its own.

    ``FAKE_START`` makes its start fail, ``FAKE_LOAD`` its load fail (``fails``), never end
    (``hangs``) or not begin (``off``).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bus = Bus()
        self._server: AdminServer | None = None

    @property
    def address(self) -> str:
        assert self._server is not None
        return self._server.url

    async def start(self) -> None:
        if os.environ.get("FAKE_START"):
            raise ConfigError("server.port: 8082 is in use; choose another with --port")
        self._server = AdminServer()
        name = self.settings.model.default or "SmolLM2"
        self._server.engine = EngineState("ready", name, 1.0, "", 8192)
        write_state(self.settings.data_dir, self._server.state())

    async def ready(self) -> None:
        for tenth in range(11):
            self.bus.publish(EngineState("loading", "SmolLM2", tenth / 10, "weights"))
        await asyncio.sleep(0)
        match os.environ.get("FAKE_LOAD"):
            case "fails":
                raise EngineFailed("the weights are damaged")
            case "off":
                raise Unavailable(self.settings.switched_off)
            case "hangs":
                await asyncio.Event().wait()

    @property
    def control(self) -> Runtime:
        return self

    async def stats(self) -> Stats:
        assert self._server is not None
        return self._server.stats()

    async def stop(self) -> None:
        if self._server is not None:
            remove_state(self.settings.data_dir, os.getpid())
            self._server.close()
            click.echo("runtime stopped")
