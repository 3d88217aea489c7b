"""With everything off, no socket leads beyond this machine.

A process of its own: the hook that sees every connection can't be taken away again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SESSION = """
import asyncio, json, sys
from pathlib import Path

seen = []

def hook(event, args):
    if event == "socket.connect":
        seen.append(["connect", str(args[1][0]) if isinstance(args[1], tuple) else "unix"])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        seen.append(["name", str(args[0])])

sys.addaudithook(hook)

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
LOOPBACK = ("127.0.0.1", "::1", "localhost", "unix", "None")


def session(folder: Path, mode: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", SESSION, str(folder), mode],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize("mode", ["off", "default"])
def test_nothing_leaves_this_machine(tmp_path: Path, mode: str) -> None:
    """Off: not even for a client that wants a search. By default: until a client wants one."""
    said = session(tmp_path / "data", mode)
    assert set(said["statuses"]) == {200}
    assert said["loaded"] == []
    assert ["connect", "127.0.0.1"] in said["seen"]
    assert [place for place in said["seen"] if place[1] not in LOOPBACK] == []
