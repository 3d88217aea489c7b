"""An answer begun with as much of a conversation as fits the backend's window."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from anyclaude.backend import Backend, BackendRequest, Generation
from anyclaude.backends import overflow
from anyclaude.errors import ApiError, PromptTooLong, UpstreamError


class Refit(Protocol):
    """Makes jobs shorter, as far as that is wanted."""

    async def refit(
        self, backend: Backend, job: BackendRequest, tokens: int, window: int
    ) -> BackendRequest | None:
        """A shorter job in place of one that takes ``tokens`` of the ``window``.

        ``None`` when nothing is to go, or no more can.
        """
        ...

    def too_full(self, backend: Backend, job: BackendRequest, tokens: int) -> int:
        """The window, when a prompt that it takes leaves too little for an answer; else 0."""
        ...

    async def fitted(self) -> None:
        """The shorter job was taken."""
        ...


async def open_fitting(
    backend: Backend,
    job: BackendRequest,
    refit: Refit | None,
    begin: Callable[[Backend, BackendRequest], Awaitable[Generation]],
) -> tuple[BackendRequest, Generation]:
    """The job that was taken, and its generation; raises what the backend says of the prompt."""
    if refit is None:
        return job, await begin(backend, job)
    refused: ApiError | None = None
    final = False
    for number in itertools.count(2):
        try:
            generation = await begin(backend, job)
        except ApiError as error:
            tokens, window = _overflow(error)
            shorter = await refit.refit(backend, job, tokens, window) if tokens else None
            if shorter is None:
                raise refused or error from None
            refused, job = refused or error, shorter
            continue
        tokens = generation.admission.usage.prompt_tokens
        if not final and (window := refit.too_full(backend, job, tokens)):
            # First of all, for a model that is to write a summary would have to wait for it; what
            # was read so far is kept.
            await generation.cancel()
            shorter = await refit.refit(backend, job, tokens, window)
            final = shorter is None
            # Nothing that is still said of the cancelled one is about this one.
            job = shorter or job
            job = replace(job, id=f"{job.id}.fit{number}")
            continue
        await refit.fitted()
        return job, generation
    raise AssertionError("counting never ends")


def _overflow(error: ApiError) -> tuple[int, int]:
    """How long the prompt is, and how long it may be; zeros where that isn't what was said."""
    if isinstance(error, PromptTooLong):
        return error.tokens, error.maximum
    if isinstance(error, UpstreamError) and error.overflow:
        found = overflow.find(str(error))
        if found is not None and found.prompt and found.maximum:
            return found.prompt, found.maximum
    return 0, 0
