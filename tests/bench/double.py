"""A small server with real sockets that answers both APIs from a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 5}
CACHE = "tier=kv; reused=20; prompt=35; disk=4; cause=history_changed"


def event(name: str, **body: Any) -> str:
    data = json.dumps({"type": name, **body}, ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n"


def answer(*texts: str, stop: str = "end_turn", output: int | None = None) -> list[str]:
    """A whole Messages stream, a piece for every text."""
    message = {"content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 0}}
    usage = {**USAGE, "output_tokens": len(texts) if output is None else output}
    deltas = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        for text in texts
    ]
    return [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *deltas,
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=usage),
        event("message_stop"),
    ]


def completion(*texts: str) -> list[str]:
    """A whole chat completion stream with its usage."""
    pieces = ["", *texts, ""]
    lines = [{"choices": [{"delta": {"role": "assistant", "content": text}}]} for text in pieces]
    usage = {"choices": [], "usage": {"prompt_tokens": 35, "completion_tokens": len(texts)}}
    return [": keepalive 1/2\n\n"] + [
        f"data: {line if isinstance(line, str) else json.dumps(line)}\n\n"
        for line in (*lines, usage, "[DONE]")
    ]


@dataclass
class Reply:
    """``parts`` are sent one by one; ``before`` is called with the number of each before it."""

    parts: list[str] = field(default_factory=list)
    status: int = 200
    kind: str = "text/event-stream; charset=utf-8"
    before: Callable[[int], None] = lambda part: None
    cut: bool = False


@dataclass
class Double:
    url: str
    replies: list[Reply]
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(*replies: Reply) -> Iterator[Double]:
    """Gives every POST the next reply, the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            double.asked.append((self.path, headers, json.loads(body) if body else None))
            reply = double.replies.pop(0) if len(double.replies) > 1 else double.replies[0]
            self.send_response(reply.status)
            self.send_header("content-type", reply.kind)
            self.send_header("x-anyclaude-cache", CACHE)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for number, part in enumerate(reply.parts):
                    reply.before(number)
                    data = part.encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            except OSError:
                double.hung_up.set()
                self.close_connection = True
                return
            if reply.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            double.hung_up.set()

    server = Server(("127.0.0.1", 0), Handler)
    double = Double(f"http://127.0.0.1:{server.server_address[1]}", list(replies))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
