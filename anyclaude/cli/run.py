"""``anyclaude run``: Claude Code on our server, which is started for it if none runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import click

from anyclaude.cli.claude import find_claude, run_claude
from anyclaude.cli.connect import connect
from anyclaude.cli.env import Target, pairs_for, running_at
from anyclaude.cli.options import with_settings
from anyclaude.cli.progress import Reporter
from anyclaude.config.client_env import CLIENT_PROMPT_TOKENS, SMALL_WINDOW, child_env
from anyclaude.config.settings import Settings
from anyclaude.errors import AnyclaudeError, Unavailable, UsageError

POLL_S = 0.5
STOP_S = 5.0


@click.command()
@click.option("--claude", metavar="PATH", help="The client's program; 'claude' on PATH if absent.")
@click.option("--model", metavar="M", help="Name or folder of the model to load.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- CLAUDE ARGS]")
@with_settings
def run(settings: Settings, claude: str | None, arguments: tuple[str, ...]) -> None:
    """Start Claude Code with the environment a local model needs.

    Uses the running server, or starts one and stops it afterwards. What follows -- goes to
    claude, whose exit code is the exit code.
    """
    program = find_claude(claude, os.environ)
    target = asyncio.run(running_target(settings))
    if target is not None:
        same_model(settings, target)
        code = _start(settings, target, program, arguments)
    elif settings.switched_off:
        raise UsageError(settings.switched_off)
    else:
        with OwnServer(forwarded()) as server:
            server.wait_until_ready()
            target = asyncio.run(running_target(settings))
            if target is None:
                raise AnyclaudeError(f"the server for {settings.data_dir} ended at once")
            code = _start(settings, target, program, arguments)
    raise SystemExit(code)


async def running_target(settings: Settings) -> Target | None:
    """The running server once its model answers; ``None`` when no server runs.

    Raises Unavailable when it has no model that will.
    """
    client = await connect(settings)
    if client is None:
        return None
    async with client:
        with Reporter("waiting for the model") as reporter:
            while True:
                ready = await client.ready()
                engine = (await client.stats()).engine
                if ready:
                    return running_at(client, engine, settings)
                if engine.phase != "loading":
                    detail = f": {engine.detail}" if engine.detail else ""
                    raise Unavailable(
                        f"the server at {client.address} has no model that answers"
                        f" ({engine.phase}{detail}); load one in the console"
                    )
                reporter.update(engine.progress, engine.detail)
                await asyncio.sleep(POLL_S)


def _start(settings: Settings, target: Target, program: Path, arguments: Sequence[str]) -> int:
    whole = settings.prompt.tier in ("off", "light") and "--bare" not in arguments
    if 0 < target.context_limit < SMALL_WINDOW and whole:
        click.echo(
            f"anyclaude: {target.model} has a window of {target.context_limit} tokens and the"
            f" client's own prompt takes about {CLIENT_PROMPT_TOKENS}; set prompt.tier ="
            " \"auto\", or try 'anyclaude run -- --bare'",
            err=True,
        )
    return run_claude(program, arguments, child_env(os.environ, pairs_for(settings, target)))


def same_model(settings: Settings, target: Target) -> None:
    """``--model`` can't be honoured by a server that has another one loaded."""
    chosen = click.get_current_context().params.get("model")
    if chosen and chosen != target.model:
        raise UsageError(
            f"--model {chosen}: the server at {target.address} runs {target.model}; stop it, or"
            " load the other model in its console"
        )


def forwarded() -> list[str]:
    """The flags that lead the started server to the very settings we have."""
    given = click.get_current_context().params
    flags = {"config": "--config", "data_dir": "--data-dir", "db": "--db", "model": "--model"}
    return [f"{flag}={given[name]}" for name, flag in flags.items() if given.get(name)]


class OwnServer:
    """A server for one client, in a session of its own so that Ctrl-C doesn't reach it."""

    def __init__(self, flags: Sequence[str]) -> None:
        self._flags = flags
        self._quiet = threading.Event()

    def __enter__(self) -> OwnServer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "anyclaude.cli.main", "serve", "--port=0", *self._flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._relay = threading.Thread(target=self._pass_on, daemon=True)
        self._relay.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._relay.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def wait_until_ready(self) -> None:
        """Returns after the server's ready line; raises AnyclaudeError if it ends before.

        What it says on stderr is shown until then and dropped after, when the terminal is the
        client's.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("anyclaude ready "):
                self._quiet.set()
                return
        code = self._process.wait()
        self._relay.join()
        raise AnyclaudeError(f"the server ended with exit code {code} before its model answered")

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if not self._quiet.is_set():
                click.echo(line, nl=False, err=True)
