"""What the routes ask of the engine in this process before they choose."""

from __future__ import annotations

from anyclaude.engine.engine import Engine
from anyclaude.engine.outlook import outlook
from anyclaude.routing.choice import Estimator
from anyclaude.routing.values import Asked, Estimate, Target


def estimator_of(name: str, engine: Engine) -> Estimator:
    """Of the backend called ``name``, which is ``engine``; of others nothing is known."""

    def estimate(asked: Asked, target: Target) -> Estimate | None:
        if target.backend != name:
            return None
        seen = outlook(engine, asked.session, asked.tokens)
        return Estimate(
            seen.prompt_tokens, seen.matched_tokens, seen.queue_seconds, seen.prefill_tps
        )

    return estimate
