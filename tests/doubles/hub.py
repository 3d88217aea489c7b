"""A Hugging Face Hub of our own, with as much of the real one as a download asks for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SHA = "a" * 40
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"w" * 300_000,
    "picture.png": b"p" * 50,
}
WANTED = len(FILES["config.json"]) + len(FILES["model.safetensors"])
"""Bytes that a pull brings."""


class Hub(ThreadingHTTPServer):
    """The weights come half way, and on once ``open`` is set; ``half`` says that they are there."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.open = threading.Event()
        self.open.set()
        self.half = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        siblings = [{"rfilename": n, "size": len(d)} for n, d in FILES.items()]
        name = path.rpartition("/")[2]
        if path.startswith("/api/models/org/gated"):
            self._send(403, b"{}", body, {"X-Error-Code": "GatedRepo"})
        elif path.startswith("/api/models/org/absent"):
            self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("/api/models/org/broken"):
            self._send(500, b"{}", body, {})
        elif path.startswith("/api/models/org/gguf"):
            siblings = [{"rfilename": "model.gguf", "size": 5}]
            self._json({"id": "org/gguf", "sha": SHA, "siblings": siblings}, body)
        elif "/tree/" in path:
            tree = [{"type": "file", "path": n, "size": len(d), "oid": n} for n, d in FILES.items()]
            self._json(tree, body)
        elif path.startswith("/api/models/"):
            self._json({"id": "org/tiny", "sha": SHA, "siblings": siblings}, body)
        else:
            headers = {"ETag": f'"{name}"', "X-Repo-Commit": SHA}
            self._send(200, FILES[name], body, headers)

    def _json(self, value: object, body: bool) -> None:
        self._send(200, json.dumps(value).encode(), body, {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        with suppress(ConnectionError):  # Who pulls may have left.
            if data is FILES["model.safetensors"]:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self.server.half.set()
                self.server.open.wait(30)
                data = data[len(data) // 2 :]
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub on a port of its own, and nothing of this machine's account or proxies."""
    for name in ("HF_TOKEN", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
