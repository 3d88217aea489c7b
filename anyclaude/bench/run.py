"""A whole run: the processes started, the rounds, and what came of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from anyclaude import __version__
from anyclaude.bench.constrained import constrained
from anyclaude.bench.figures import Figures, as_json
from anyclaude.bench.phases import (
    Round,
    Server,
    decode,
    join,
    memory,
    prefix,
    restart,
    stall,
    streams,
)
from anyclaude.bench.process import FloorProcess, OwnServer, Peer
from anyclaude.bench.workload import Prompt, Sizes, Words
from anyclaude.config.advice import this_machine
from anyclaude.config.settings import Settings
from anyclaude.engine.blas import load_blas
from anyclaude.engine.catalog import Catalog
from anyclaude.engine.smollm2 import EMBEDDED_NAME
from anyclaude.errors import AnyclaudeError
from anyclaude.types import JsonObject, JsonValue

Progress = Callable[[float, str], None]
PHASES: Mapping[str, Callable[[Round], Awaitable[None]]] = {
    "prefix": prefix,
    "decode": decode,
    "streams": streams,
    "constrained": constrained,
    "stall": stall,
    "join": join,
    "restart": restart,
    "memory": memory,
}
"""In the order in which they are run. ``restart`` goes on from what ``prefix`` asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: ``phases`` by their names, ``peer`` whether to compare with one."""

    model: str
    phases: tuple[str, ...]
    rounds: int
    sizes: Sizes
    peer: bool
    seed: str


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a run and how they were taken."""

    figures: Figures
    about: JsonObject

    def json(self) -> dict[str, JsonValue]:
        return {
            **self.about,
            "notes": list(self.figures.notes),
            "figures": as_json(self.figures),
        }


async def run(plan: Plan, settings: Settings, progress: Progress) -> Report:
    """Measures, on folders and processes of its own that are gone afterwards.

    Raises AnyclaudeError when our server or the floor fails; a peer's failure is a note.
    """
    figures = Figures()
    async with AsyncExitStack() as stack:
        kept = tempfile.TemporaryDirectory(prefix="anyclaude-bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(kept))
        progress(0.0, "starting anyclaude serve")
        own = OwnServer(folder, settings, put_model(folder, settings.data_dir, plan.model))
        stack.push_async_callback(own.stop)
        await own.start()
        weights = Catalog(folder).resolve(plan.model)
        servers: list[Server] = [own]
        if plan.peer:
            progress(0.0, "starting mlx_lm.server")
            peer = Peer(folder, weights, load_blas())
            stack.push_async_callback(peer.stop)
            servers += await _started(peer, figures)
        progress(0.0, "loading the model for its own forward pass")
        floor = FloorProcess(folder, weights)
        stack.push_async_callback(floor.stop)
        await floor.start()
        await _warm(servers, floor)
        await _rounds(plan, own, servers, floor, figures, progress)
    figures.compare("restart to warm branch", "restart", "branch")
    return Report(figures, _about(plan, len(servers) > 1))


async def _rounds(
    plan: Plan,
    own: OwnServer,
    servers: Sequence[Server],
    floor: FloorProcess,
    figures: Figures,
    progress: Progress,
) -> None:
    phases = [name for name in PHASES if name in plan.phases]
    for number in range(plan.rounds):
        turned = servers if number % 2 == 0 else servers[::-1]
        words = Words(f"{plan.seed}/{number}")
        round = Round(words, plan.sizes, own, turned, floor, figures)
        for index, name in enumerate(phases):
            done = (number + index / len(phases)) / plan.rounds
            progress(done, f"round {number + 1} of {plan.rounds}: {name}")
            await PHASES[name](round)
    progress(1.0, "done")


def peer_installed() -> bool:
    """Whether ``mlx_lm.server`` can be run here."""
    return importlib.util.find_spec("mlx_lm") is not None


def put_model(folder: Path, data_dir: Path, name: str) -> str:
    """Makes a model of the user's data folder known in ours; returns the name to load it by.

    Raises NotFound when there is no such model. The embedded one may be made in our folder.
    """
    path = Catalog(data_dir).resolve(name)
    if not path.is_dir():
        return name
    if path.parent == data_dir / "models":
        (folder / "models").mkdir()
        (folder / "models" / path.name).symlink_to(path.resolve())
        return name
    return str(path) if name.startswith(("/", "./")) else name


async def _started(peer: Peer, figures: Figures) -> list[Server]:
    try:
        await peer.start()
    except (AnyclaudeError, TimeoutError) as error:
        figures.note(f"{peer.name} could not be started: {error}")
        return []
    return [peer]


async def _warm(servers: Sequence[Server], floor: FloorProcess) -> None:
    """One short answer of each, so that weights are read and kernels are made."""
    prompt = Prompt("You are brief.", ("Warm up.",))
    for server in servers:
        await server.client.ask(prompt, 4)
    await floor.first(prompt)


def about_machine() -> JsonObject:
    """Where and when figures are taken, and by which versions."""
    machine = this_machine()
    return {
        "anyclaude": __version__,
        "taken_at": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": f"{machine.chip}, {round(machine.memory_bytes / 2**30)} GB",
        "metal": machine.metal,
        **{name: importlib.metadata.version(name) for name in ("mlx", "mlx-lm")},
    }


def _about(plan: Plan, peer: bool) -> JsonObject:
    here = about_machine()
    return {
        **here,
        "model": plan.model or EMBEDDED_NAME,
        "peer": f"mlx_lm.server {here['mlx-lm']}" if peer else None,
        "seed": plan.seed,
        "rounds": plan.rounds,
        "phases": list(plan.phases),
        "sizes": {name: _plain(value) for name, value in asdict(plan.sizes).items()},
    }


def _plain(value: object) -> JsonValue:
    return list(value) if isinstance(value, tuple) else int(str(value))
