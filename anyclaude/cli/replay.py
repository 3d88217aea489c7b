"""``anyclaude replay``: recorded requests once more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anyclaude.cli.options import with_settings
from anyclaude.cli.output import cell
from anyclaude.cli.run import OwnServer, forwarded, running_target, same_model
from anyclaude.config.client_env import OPEN_TOKEN
from anyclaude.config.settings import Settings
from anyclaude.errors import AnyclaudeError, UsageError

if TYPE_CHECKING:
    from anyclaude.bench.recording import Recorded
    from anyclaude.bench.replay import Replayed

_COLUMNS = ("#", "status", "prompt", "reused", "disk", "tier", "cause", "ttft s", "total s", "stop")
_LINE = "{:>4} {:>6} {:>7} {:>7} {:>7} {:8} {:15} {:>8} {:>8} {:13} {}"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--url", metavar="URL", help="A server by its address, instead of the running one.")
@click.option("--model", metavar="M", help="Model of the server that is started if none runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
@with_settings
def replay(settings: Settings, file: Path, url: str | None, as_json: bool) -> None:
    """Send recorded requests again, in order, to the running server or one started for it.

    FILE is a file of JSON lines, each with the body of a request, or the folder traces/ of a data
    folder, which log.traces = true fills. Prints what each request reused, how long it waited,
    and whether its answer was well-formed; the exit code is 1 if one wasn't.
    """
    from anyclaude.bench.recording import read_recording

    recording = read_recording(file)
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--url {url}: expected an address such as http://127.0.0.1:8082")
        replayed = asyncio.run(_send(recording, url, settings.server.api_key, as_json))
    else:
        replayed = _to_ours(recording, settings, as_json)
    if any(one.problems for one in replayed):
        raise SystemExit(1)


def _to_ours(recording: list[Recorded], settings: Settings, as_json: bool) -> list[Replayed]:
    target = asyncio.run(running_target(settings))
    if target is not None:
        same_model(settings, target)
        return asyncio.run(_send(recording, target.address, target.token, as_json))
    if settings.switched_off:
        raise UsageError(settings.switched_off)
    with OwnServer(forwarded()) as server:
        server.wait_until_ready()
        target = asyncio.run(running_target(settings))
        if target is None:
            raise AnyclaudeError(f"the server for {settings.data_dir} ended at once")
        return asyncio.run(_send(recording, target.address, target.token, as_json))


async def _send(recording: list[Recorded], address: str, token: str, quiet: bool) -> list[Replayed]:
    from anyclaude.bench import replay as sending

    done: list[Replayed] = []
    if not quiet:
        click.echo(_LINE.format(*_COLUMNS, "answer"))
    async for one in sending.replay(recording, address, token or OPEN_TOKEN):
        done.append(one)
        if not quiet:
            click.echo(_line(one))
    if quiet:
        click.echo(json.dumps(sending.as_json(done, address), indent=1))
    else:
        click.echo(sending.Summary.of(done).line())
    return done


def _line(one: Replayed) -> str:
    wait = "" if one.ttft is None else f"{one.ttft:.3f}"
    return _LINE.format(
        one.number,
        one.status or "",
        one.prompt,
        one.reused,
        one.disk,
        cell(one.tier),
        cell(one.cause),
        wait,
        f"{one.duration:.3f}",
        cell(one.stop_reason),
        _verdict(one.problems),
    )


def _verdict(problems: Sequence[str]) -> str:
    return "well-formed" if not problems else cell("; ".join(problems), 200)
