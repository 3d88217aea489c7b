"""A loaded model as the event loop knows it."""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.backend import BackendRequest
from anyclaude.engine.constraint import AnswerPlan, Constraints, constraints_of
from anyclaude.engine.load import LoadedModel
from anyclaude.engine.template import ChatTemplate
from anyclaude.types import Sampling


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What the loop has to know of a loaded model: everything but its weights."""

    name: str
    template: ChatTemplate
    context_limit: int
    fingerprint: str
    defaults: Sampling
    constraints: Constraints | None = None

    @classmethod
    def of(cls, model: LoadedModel) -> ServedModel:
        return cls(
            model.name,
            model.template,
            model.context_limit,
            model.fingerprint,
            model.defaults,
            constraints_of(model.tokenizer, model.eos_ids),
        )

    def plan(self, request: BackendRequest) -> AnswerPlan | None:
        """What the request holds its answer to; takes a while, and is never for the loop."""
        if self.constraints is None:
            return None
        tools = request.callable_tools or request.request.tools
        inside = request.resume is not None and request.resume.inside
        return self.constraints.plan(request.request, self.template.dialect, tools, inside=inside)
