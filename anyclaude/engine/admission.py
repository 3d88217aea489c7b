"""From a rendered request to what the MLX thread and the client are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from anyclaude.backend import Admission, BackendRequest
from anyclaude.engine.constraint import AnswerPlan, Constraint
from anyclaude.engine.ending import usage_of
from anyclaude.engine.flights import FlightKey
from anyclaude.engine.job import Job, JobReport
from anyclaude.engine.kv import KVLease
from anyclaude.engine.prefix_break import system_id
from anyclaude.engine.sampling import resolve_sampling
from anyclaude.engine.scheduler import rank_of
from anyclaude.engine.served import ServedModel
from anyclaude.engine.template import ChatTemplate, Rendered
from anyclaude.errors import EngineFailed, PromptTooLong
from anyclaude.types import PrefixMiss, Role, Sampling, Tier, Tokens, ToolChoice


def flight_key(
    request: BackendRequest,
    rendered: Rendered,
    model: ServedModel,
    sampling: Sampling,
    *,
    window: int,
    most_output: int,
    plan: AnswerPlan | None = None,
) -> FlightKey:
    """The work that the request is; ``window`` and ``most_output`` are tokens, 0 for no limit.

    Raises :class:`PromptTooLong` when the prompt leaves no room for an answer.
    """
    prompt, wanted = len(rendered.tokens), request.request.max_tokens
    if window and prompt >= window:
        raise PromptTooLong(prompt, window)
    room = window - prompt if window else wanted
    return FlightKey(
        rendered.tokens,
        min(wanted, room, most_output or wanted),
        resolve_sampling(request.request.sampling, sampling, model.defaults),
        request.request.stop_sequences,
        plan.key if plan is not None else "",
    )


@dataclass(frozen=True, slots=True)
class Resumed:
    """What an answer begins with: ``tokens``, of which the last ``call`` belong to a call."""

    tokens: Tokens = ()
    call: int = 0


def resumed_by(request: BackendRequest, template: ChatTemplate) -> Resumed:
    """The text that the request resumes, in tokens."""
    if request.resume is None:
        return Resumed()
    call = template.encode(request.resume.call) if request.resume.call else ()
    text = template.encode(request.resume.text) if request.resume.text else ()
    return Resumed(text + call, len(call))


def held_to_a_call(request: BackendRequest) -> BackendRequest:
    """A request that resumes an answer wants one call of it, and nothing else."""
    if request.resume is None:
        return request
    name = request.resume.tool
    choice = ToolChoice("tool", name, True) if name else ToolChoice("any", None, True)
    wanted = replace(request.request, tool_choice=choice, output_schema=None)
    return replace(request, request=wanted)


def shortened_by(resumed: Resumed, request: BackendRequest) -> BackendRequest:
    """The request with as many output tokens fewer as its answer begins with."""
    left = max(1, request.request.max_tokens - len(resumed.tokens))
    return replace(request, request=replace(request.request, max_tokens=left))


def constraint_for(
    request: BackendRequest, rendered: Rendered, plan: AnswerPlan | None, resumed: Resumed
) -> Constraint | None:
    """What holds the answer to its form, ``None`` for nothing.

    Raises :class:`EngineFailed` if it is to go on with a call and can't be held to one.
    """
    if request.resume is None:
        return plan.begin(rendered.thinking) if plan is not None else None
    if plan is None:
        raise EngineFailed("the model can't be held to a call")
    constraint = plan.begin(None if resumed.tokens else rendered.thinking)
    for token in resumed.tokens[len(resumed.tokens) - resumed.call :]:
        constraint.took(token)
    if constraint.note:
        raise EngineFailed(f"the grammar has no such call: {constraint.note}")
    return constraint


def job_for(
    request: BackendRequest,
    rendered: Rendered,
    key: FlightKey,
    lease: KVLease,
    submitted: float,
    report: Callable[[JobReport], None],
    constraint: Constraint | None = None,
) -> Job:
    """The job of an admitted request."""
    return Job(
        id=request.id,
        tokens=key.tokens,
        lease=lease,
        max_tokens=key.max_tokens,
        sampling=key.sampling,
        stop_sequences=key.stop_sequences,
        mark_tokens=rendered.mark_tokens,
        submitted=submitted,
        rank=rank_of(request.role),
        system_tokens=rendered.system_tokens,
        boundaries=_boundaries(rendered),
        session=request.session_id if request.role is Role.MAIN else "",
        report=report,
        constraint=constraint,
        goes_on=request.resume is not None,
    )


def admission_for(
    backend: str,
    model: ServedModel,
    rendered: Rendered,
    job: Job,
    miss: PrefixMiss,
    *,
    reused: int,
    from_disk: int,
) -> Admission:
    """What the pipeline is told before the first byte goes out."""
    return Admission(
        backend=backend,
        model=model.name,
        usage=usage_of(job, reused, 0),
        tier=_tier(reused, from_disk),
        from_disk=from_disk,
        miss=miss,
        dialect=model.template.dialect,
        thinking=rendered.thinking,
        rendered_prompt=rendered.text,
        system_tokens=rendered.system_tokens,
        system_id=system_id(rendered),
        notes=(*rendered.notes, *_losses(job)),
        constrained=job.constraint is not None,
        hidden=model.template.hidden,
    )


def _losses(job: Job) -> tuple[str, ...]:
    """What the grammar of an answer in JSON doesn't have of its schema."""
    losses = job.constraint.losses if job.constraint is not None else ()
    return tuple(f"the answer{loss.text}" for loss in losses)


def _tier(reused: int, from_disk: int) -> Tier | None:
    """The tier that most of the reused tokens came from."""
    if not reused:
        return None
    return Tier.KV_DISK if 2 * from_disk > reused else Tier.KV


def _boundaries(rendered: Rendered) -> Tokens:
    """Where a later prompt may part from this one, ascending."""
    places = {rendered.system_tokens, *rendered.message_ends, rendered.tail_start}
    return tuple(sorted(places - {0}))
