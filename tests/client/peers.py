"""Servers of others, each started as its users start it, on loopback and on a free port.

A program is looked for in ``$ANYCLAUDE_PEERS`` (a folder with a virtual environment for each),
``anyclaude-peers`` in the user's cache folder (``just peers`` fills it), and on the PATH.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from ctypes.util import find_library
from pathlib import Path

import httpx
import platformdirs
import pytest

from tests.doubles.chaos_upstream import free_port

START_S = 600.0
RANKS = 3


def program(name: str) -> str:
    """Its path; skips the test where it isn't installed."""
    named = os.environ.get("ANYCLAUDE_PEERS")
    folders = [Path(named)] if named else []
    folders.append(Path(platformdirs.user_cache_dir("anyclaude-peers")))
    for folder in folders:
        for found in sorted(folder.glob(f"*/bin/{name}")):
            return str(found)
    if (path := shutil.which(name)) is None:
        pytest.skip(f"{name} is not installed: see tests/client/peers.py")
    return path


@asynccontextmanager
async def running(
    arguments: Sequence[str], address: str, health: str, folder: Path, env: Mapping[str, str] = {}
) -> AsyncIterator[None]:
    """The process and its children, from its first 200 at ``health`` on."""
    log = folder / "peer.log"
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**_environment(), "TMPDIR": str(folder), **env},
            cwd=folder,
            start_new_session=True,
        )
    try:
        async with (
            asyncio.timeout(START_S),
            httpx.AsyncClient(base_url=address, trust_env=False, timeout=5) as http,
        ):
            while not await _well(http, health):
                assert process.returncode is None, log.read_text("utf-8", "replace")[-3000:]
                await asyncio.sleep(0.25)
        yield
    finally:
        # The whole session: ranks outlive a launcher that is stopped alone.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)


async def _well(http: httpx.AsyncClient, path: str) -> bool:
    try:
        return (await http.get(path)).status_code == 200
    except httpx.HTTPError:
        return False


def _environment() -> dict[str, str]:
    """Ours without what would configure anyclaude, and with the BLAS that MLX is given here."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ANYCLAUDE_", "PYTEST_"))}
    if sys.platform == "linux" and (blas := find_library("openblas")):
        env["LD_PRELOAD"] = " ".join(part for part in (blas, env.get("LD_PRELOAD")) if part)
    return {**env, "HF_HUB_OFFLINE": "1"}


@asynccontextmanager
async def mlx_lm_server(model: Path, folder: Path, *, ranks: int = 1) -> AsyncIterator[str]:
    """Its address; over several ranks each has a part of every layer."""
    port = free_port()
    serve = [sys.executable, "-m", "mlx_lm", "server", f"--model={model}"]
    serve += ["--host=127.0.0.1", f"--port={port}", "--log-level=WARNING"]
    if ranks > 1:
        launch = str(Path(sys.executable).parent / "mlx.launch")
        ring = ["-n", str(ranks), "--backend", "ring", "--starting-port", str(free_port())]
        serve = [launch, *ring, "--", *serve]
    address = f"http://127.0.0.1:{port}"
    async with running(serve, address, "/health", folder):
        yield f"{address}/v1"


@asynccontextmanager
async def vllm_mlx(model: Path, folder: Path) -> AsyncIterator[str]:
    port = free_port()
    tools = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    serve = [program("vllm-mlx"), "serve", str(model), "--port", str(port), "--offline", *tools]
    address = f"http://127.0.0.1:{port}"
    async with running(serve, address, "/health", folder):
        yield f"{address}/v1"


@asynccontextmanager
async def litellm_proxy(upstream: str, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Address and key of the proxy in front of a server of chat completions that has ``gpt-x``."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: gpt-x\n"
        "    litellm_params:\n"
        "      model: openai/gpt-x\n"
        f"      api_base: {upstream}\n"
        "      api_key: none\n",
        "utf-8",
    )
    serve = [program("litellm"), "--config", str(config), "--host", "127.0.0.1"]
    serve += ["--port", str(port), "--telemetry", "False"]
    address = f"http://127.0.0.1:{port}"
    key = f"sk-{secrets.token_hex(32)}"  # It refuses to start without one that is hard to guess.
    env = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    async with running(serve, address, "/health/liveliness", folder, env):
        yield f"{address}/v1", key
