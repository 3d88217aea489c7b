"""What can be said of a request's first token before the engine has even read its prompt.

Event-loop thread. Nothing is rendered here: a conversation that goes on begins with what was last
read and written of it, so what the tree still has of that is what it will find.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anyclaude.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Outlook:
    """``matched_tokens`` of ``prompt_tokens`` are in the prefix tree.

    ``queue_seconds`` is what those before it still have to read, infinite without a model;
    ``prefill_tps`` is tokens a second, 0 while none was measured.
    """

    prompt_tokens: int
    matched_tokens: int
    queue_seconds: float
    prefill_tps: float


def outlook(engine: Engine, session: str, prompt_tokens: int) -> Outlook:
    """For the next request of a conversation; ``prompt_tokens`` may be a guess."""
    if engine.model is None:
        return Outlook(prompt_tokens, 0, math.inf, 1.0)
    matched = engine.caches.matched(session)
    speed = engine.gauges.prefill_tps
    unread = engine.flights.unread_tokens
    # A guess below what is known of the prompt would be none.
    prompt = max(prompt_tokens, matched + 1)
    return Outlook(prompt, matched, unread / speed if speed else 0.0, speed)
