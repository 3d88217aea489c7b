"""A request made ready to be admitted: its prompt in tokens, and what its answer is held to.

The work is done on executor threads.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from anyclaude.backend import BackendRequest
from anyclaude.engine.admission import Resumed, held_to_a_call, resumed_by, shortened_by
from anyclaude.engine.constraint import AnswerPlan
from anyclaude.engine.served import ServedModel
from anyclaude.engine.template import Rendered


@dataclass(frozen=True, slots=True)
class Prepared:
    """``rendered`` ends in the tokens that the answer begins with, if it is ``resumed``;
    ``request`` allows as many output tokens fewer."""

    request: BackendRequest
    rendered: Rendered
    plan: AnswerPlan | None
    resumed: Resumed


async def prepare(model: ServedModel, request: BackendRequest, *, constrain: bool) -> Prepared:
    """The request as ``model`` takes it; raises :class:`InvalidRequest` if it can't."""
    plan, rendered = await asyncio.gather(
        _plan(model, held_to_a_call(request), constrain), render(model, request)
    )
    resumed = resumed_by(request, model.template)
    rendered = replace(rendered, tokens=rendered.tokens + resumed.tokens)
    return Prepared(shortened_by(resumed, request), rendered, plan, resumed)


async def render(model: ServedModel, request: BackendRequest) -> Rendered:
    """The prompt alone."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, model.template.render, request.request, request.echoes)


async def _plan(model: ServedModel, request: BackendRequest, constrain: bool) -> AnswerPlan | None:
    if not constrain:
        return None
    return await asyncio.get_running_loop().run_in_executor(None, model.plan, request)
