"""What is wrong right now, why, and the key that mends it: the rows of the banner.

Some of it is a state (the engine failed, admission is paused); some was said once by an event
and holds until another one, or the figures, say that it is over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.events import EngineState, Event, SystemEvent, TierStats, Vitals
from anyclaude.types import Tier
from tui import format as f

Severity: TypeAlias = Literal["error", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """A binding, by its id, and what pressing it does here."""

    binding: str
    text: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """One row: what is wrong, with what, and what helps."""

    severity: Severity
    title: str
    why: str = ""
    remedies: tuple[Remedy, ...] = ()


RESTART = Remedy("engine.restart", "starts it again")
RETRY = Remedy("engine.restart", "tries again")
PICK = Remedy("engine.models", "picks another model")
LOAD = Remedy("engine.models", "picks one")
RESUME = Remedy("engine.pause", "lets them in")
EVENTS = Remedy("pane.events", "shows the events")
FLUSH = Remedy("cache.flush", "frees what it holds")
BACKENDS = Remedy("room.backends", "shows and resets it")


# A row that was refused, or a damaged file that was moved aside, is over when it is said.
_LOG_STALLS = ("can't be written", "doesn't answer")
_LOG_GOES_ON = ("can be written again", "answers again")
# As the routing says it: ``studio: closed to open, 5 failures in a row``.
_BREAKER = re.compile(
    r"(?P<name>.+?): (?:closed|open|half-open) to (?P<state>closed|open|half-open), (?P<why>.*)",
    re.DOTALL,
)


class Watch:
    """Remembers the events that mean trouble until they are over."""

    def __init__(self) -> None:
        self._log: SystemEvent | None = None
        self._disk: SystemEvent | None = None
        self._disk_bytes = 0
        self._lost: SystemEvent | None = None
        self._left_out: dict[str, str] = {}
        self._engine = EngineState("unloaded")
        self._vitals: Vitals | None = None

    def apply(self, event: Event) -> None:
        match event:
            case EngineState():
                self._engine = event
            case Vitals():
                self._vitals = event
                disk = _tier(event.tiers, Tier.KV_DISK)
                # The disk cache says when it can't write; that it can again, its size says.
                if self._disk is not None and disk is not None and disk.bytes > self._disk_bytes:
                    self._disk = None
                elif disk is not None:
                    self._disk_bytes = disk.bytes
            case SystemEvent(kind="log", message=message):
                if any(words in message for words in _LOG_STALLS):
                    self._log = event
                elif any(words in message for words in _LOG_GOES_ON):
                    self._log = None
            case SystemEvent(kind="cache", level="error"):
                self._disk = event
            case SystemEvent(kind="flush"):
                self._disk = None
            case SystemEvent(kind="breaker", message=message):
                self._breaker(message)
            case SystemEvent(kind="server"):
                self._lost = event if event.level == "error" else None
            case _:
                pass

    def _breaker(self, message: str) -> None:
        """A backend that is being tried is out of service until enough probes were answered."""
        found = _BREAKER.fullmatch(message)
        if found is None:
            return
        if found["state"] == "closed":
            self._left_out.pop(found["name"], None)
        elif found["state"] == "open":
            self._left_out.pop(found["name"], None)
            self._left_out[found["name"]] = found["why"]

    def troubles(self, waiting: int = 0) -> tuple[Trouble, ...]:
        """The worst first."""
        found: list[Trouble] = []
        engine = self._engine
        if self._lost is not None:
            found.append(Trouble("error", "The server is gone.", self._lost.message))
        elif engine.phase == "failed":
            found.append(engine_trouble(engine.detail))
        if self._log is not None:
            message = f.one_line(self._log.message)
            found.append(Trouble("error", "The log is not written.", message, (EVENTS,)))
        if self._disk is not None:
            message = f.one_line(self._disk.message)
            found.append(Trouble("warn", "The disk cache rests.", message, (FLUSH,)))
        if self._left_out:
            found.append(_left_out(self._left_out))
        if engine.phase == "unloaded" and engine.detail:
            found.append(Trouble("warn", "No model is loaded.", engine.detail, (LOAD,)))
        if self._vitals is not None and self._vitals.paused:
            noun = "request waits" if waiting == 1 else "requests wait"
            why = f"{waiting} {noun}." if waiting else "New requests will wait."
            found.append(Trouble("info", "Admission is paused.", why, (RESUME,)))
        return tuple(found)


def engine_trouble(detail: str) -> Trouble:
    """A failed engine: one that died starts again, a model that isn't there needs another one."""
    why = f.one_line(detail)
    if why.startswith("loading "):
        return Trouble("error", "The model is not loaded.", why, (PICK, RETRY))
    return Trouble("error", "The engine failed.", why or "No reason was given.", (RESTART, PICK))


def _left_out(backends: Mapping[str, str]) -> Trouble:
    """Backends whose breakers are open, the one that was lost last with its reason."""
    name = list(backends)[-1]
    why = backends[name]
    title = f"The backend {f.one_line(name)} is out of service."
    if len(backends) > 1:
        title = f"{len(backends)} backends are out of service."
        why = f"{name}: {why}"
    return Trouble("warn", title, f.one_line(why), (BACKENDS,))


def _tier(tiers: tuple[TierStats, ...], name: str) -> TierStats | None:
    return next((tier for tier in tiers if tier.tier == name), None)
