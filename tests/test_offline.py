"""With everything off, no socket leads beyond this machine.

A process of its own: the hook that sees every connection can't be taken away again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOOK = """
import asyncio, json, os, signal, sys
from pathlib import Path

seen = []

def hook(event, args):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        place = args[1]
        if place is not None:
            seen.append([event[7:], str(place[0]) if isinstance(place, tuple) else "unix"])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        seen.append(["name", str(args[0])])
    elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.system"):
        seen.append(["process", str(args[0])])

sys.addaudithook(hook)
"""
SERVER = """
import httpx
from anyclaude.config.settings import SearchSettings
from anyclaude.runtime import Runtime
from tests.search_kit import TOOL, settings_for, side_request

async def main(folder, off):
    search = SearchSettings(providers=()) if off else SearchSettings()
    runtime = Runtime(settings_for(Path(folder), search))
    await runtime.start()
    headers = {"x-claude-code-session-id": "s1"}
    text = "What is the latest version of Python? Search the web for it."
    talk = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    statuses = []
    async with httpx.AsyncClient(base_url=runtime.address, timeout=60, trust_env=False) as http:
        bodies = [talk, {**talk, "stream": True}, {**talk, "tools": [TOOL]}]
        bodies += [side_request("newest python")] if off else []
        for body in bodies:
            answer = await http.post("/v1/messages", json=body, headers=headers)
            statuses.append(answer.status_code)
        for path in ("/v1/models", "/health", "/metrics"):
            statuses.append((await http.get(path)).status_code)
    await runtime.stop()
    loaded = [name for name in ("ddgs", "primp") if name in sys.modules]
    print(json.dumps({"seen": seen, "statuses": statuses, "loaded": loaded}))

asyncio.run(main(sys.argv[1], sys.argv[2] == "off"))
"""
CONSOLE = """
import httpx
from textual.drivers.headless_driver import HeadlessDriver
from anyclaude.config.load import load_settings
from anyclaude.events import EngineState
from tui.__main__ import run
from tui.app import Console
from tui.desk import Surroundings
from tui.launch import LocalLaunch
from tui.themes import load_themes, theme_folder

class Watched(LocalLaunch):
    async def start(self, found):
        def both(source):
            self.source, self.heard = source, source.subscribe()
            found(source)
        await super().start(both)
        async for event in self.heard:
            if isinstance(event, EngineState) and event.phase in ("ready", "failed"):
                ready.set_result(event.phase)
                return

async def main(folder):
    global ready
    ready = asyncio.get_running_loop().create_future()
    flags = {"data_dir": folder, "server.port": 0}
    settings = load_settings(overrides=flags, env=os.environ, cwd=Path.cwd())
    launch = Watched(settings)
    app = Console(launch, settings.ui, load_themes([theme_folder()]), Surroundings())
    app.driver_class = HeadlessDriver
    running = asyncio.create_task(run(app, launch))
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    assert ready.result() == "ready"
    talk = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]}
    statuses = []
    address = launch.source.address
    async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as http:
        for body in (talk, {**talk, "stream": True}):
            statuses.append((await http.post("/v1/messages", json=body)).status_code)
    os.kill(os.getpid(), signal.SIGTERM)
    ended = await running
    print(json.dumps({"seen": seen, "statuses": statuses, "ended": ended}))
    sys.stdout.flush()
    os._exit(0)  # As the command does: MLX's own end is none of this.

asyncio.run(main(sys.argv[1]))
"""
LOOPBACK = ("127.0.0.1", "::1", "localhost", "unix", "None")
ASKS_THE_MACHINE = ("/usr/sbin/sysctl", "/sbin/ldconfig")
"""Programs that a start may run: for a Mac's chip, and for where Linux has its libraries."""


def session(program: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """What the program said at its end, which saw every socket of its own from the beginning."""
    home = folder.parent / "home"
    home.mkdir()
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("ANYCLAUDE", "TEXTUAL"))}
    ran = subprocess.run(
        [sys.executable, "-c", HOOK + program, str(folder), *arguments],
        cwd=Path(__file__).parents[1],
        env={**ours, "HOME": str(home), "COLUMNS": "120", "LINES": "40"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said


def beyond(said: dict[str, Any]) -> list[list[str]]:
    """Where sockets led that is not this machine, and programs that may have opened some."""
    allowed = (*LOOPBACK, *ASKS_THE_MACHINE)
    return [place for place in said["seen"] if place[1] not in allowed]


@pytest.mark.parametrize("mode", ["off", "default"])
def test_nothing_leaves_this_machine(tmp_path: Path, mode: str) -> None:
    """Off: not even for a client that wants a search. By default: until a client wants one."""
    said = session(SERVER, tmp_path / "data", mode)
    assert set(said["statuses"]) == {200}
    assert said["loaded"] == []
    assert ["connect", "127.0.0.1"] in said["seen"]
    assert beyond(said) == []


@pytest.mark.model
def test_nothing_leaves_the_console_with_its_defaults(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    """The screen, the server and the embedded model, from their start to their end."""
    data = tmp_path / "data"
    (data / "models").mkdir(parents=True, mode=0o700)
    (data / "models" / embedded_model_dir.name).symlink_to(embedded_model_dir)
    said = session(CONSOLE, data)
    assert (said["statuses"], said["ended"]) == ([200, 200], 0)
    assert ["bind", "127.0.0.1"] in said["seen"] and ["connect", "127.0.0.1"] in said["seen"]
    assert beyond(said) == []


def test_the_hook_sees_what_would_leave() -> None:
    """Else those above could not fail. Nothing is sent, and the address is no host's."""
    program = """
import contextlib, socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
    sock.connect(("203.0.113.7", 9))
print(json.dumps({"seen": seen}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", HOOK + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert beyond(json.loads(ran.stdout)) == [["connect", "203.0.113.7"]]
