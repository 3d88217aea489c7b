"""What routing is told and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from anyclaude.types import Role

Clock: TypeAlias = Callable[[], float]
"""Seconds from any fixed point, never going back."""

Slot: TypeAlias = Literal["opus", "sonnet", "haiku", "subagent", ""]
"""What Claude Code wants a model for; empty when its name says nothing."""

StrategyName: TypeAlias = Literal[
    "shuffle",
    "round-robin",
    "priority",
    "least-busy",
    "usage",
    "latency",
    "cost",
    "cache-aware",
]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
SLOTS: tuple[Slot, ...] = ("opus", "sonnet", "haiku", "subagent")
BYTES_PER_TOKEN = 3.8
"""Of a Claude Code request, measured (claude-code-wire, section 4)."""
_FAMILIES: tuple[Slot, ...] = ("opus", "sonnet", "haiku")


@lru_cache(maxsize=64)
def family_of(model: str) -> Slot:
    """The Claude family that a model's name speaks of."""
    name = model.lower()
    return next((family for family in _FAMILIES if family in name), "")


def slot_of(model: str, role: Role) -> Slot:
    """The client's slot: a subagent is one whatever its model, all others go by the name."""
    return "subagent" if role is Role.SUBAGENT else family_of(model)


@dataclass(frozen=True, slots=True)
class Target:
    """A backend and its name for the model; an empty one means the name that was asked for."""

    backend: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.backend}/{self.model}" if self.model else self.backend

    def resolved(self, asked: str) -> Target:
        """The target with the model's name filled in."""
        return self if self.model else Target(self.backend, asked)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What else a route asks of a request; all of it must hold, and nothing asks nothing.

    ``roles`` and ``tools`` want one of theirs, ``headers`` every one. Header values and tool
    names are patterns, upper and lower case alike. ``min_tokens`` and ``max_tokens`` are of the
    estimated prompt, both included; 0 is no bound.
    """

    roles: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    min_tokens: int = 0
    max_tokens: int = 0
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go whose model's name matches, ``slot:NAME`` being the client's slots.

    ``fallback`` is tried in its order when the targets can't answer, ``fallback_context`` when
    the prompt is too long for them, ``fallback_overloaded`` before it when they are too busy.
    """

    match: str
    targets: tuple[Target, ...]
    strategy: StrategyName = "shuffle"
    affinity: bool = True
    fallback: tuple[Target, ...] = ()
    fallback_context: tuple[Target, ...] = ()
    fallback_overloaded: tuple[Target, ...] = ()
    conditions: Conditions = Conditions()


@dataclass(frozen=True, slots=True)
class BackendTraits:
    """What the configuration says of a backend. Limits of 0 are none, prices per million tokens.

    ``priority``: lower ones come first.
    """

    name: str
    weight: float = 1.0
    priority: int = 0
    max_concurrency: int = 0
    max_waiting: int = 64
    price_in: float = 0.0
    price_out: float = 0.0
    context_limit: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as routing sees it.

    ``session`` is session id and agent id in one, since subagents carry their parent's session
    id. ``prompt_tokens`` is an estimate, 0 where nobody made one. Header values are never part of
    a reason.
    """

    model: str
    role: Role = Role.MAIN
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    prompt_tokens: int = 0
    body_bytes: int = 0
    tools: tuple[str, ...] = ()
    session: str = ""
    id: str = ""

    @property
    def slot(self) -> Slot:
        return slot_of(self.model, self.role)

    @property
    def tokens(self) -> int:
        """Of the prompt, by the size of the body if need be."""
        return self.prompt_tokens or int(self.body_bytes / BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the local engine knows of a request before it takes it.

    ``matched_tokens`` of ``prompt_tokens`` are in its prefix cache; ``prefill_tokens_per_second``
    is 0 while none was measured.
    """

    prompt_tokens: int
    matched_tokens: int
    queue_seconds: float
    prefill_tokens_per_second: float

    @property
    def seconds(self) -> float | None:
        """To the first token; ``None`` without a measured speed."""
        if self.prefill_tokens_per_second <= 0:
            return None
        left = max(0, self.prompt_tokens - self.matched_tokens)
        return self.queue_seconds + left / self.prefill_tokens_per_second


@dataclass(frozen=True, slots=True)
class Score:
    """What a strategy thought of a target; ``text`` says it with its unit, lower values first."""

    target: Target
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A target that was no candidate, and why."""

    target: Target
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request went. ``target`` has its model's name; ``reason`` is for a person."""

    request_id: str
    route: str
    target: Target
    reason: str
    scores: tuple[Score, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
