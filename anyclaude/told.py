"""What becomes of a generation, told to the routing while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from anyclaude.backend import Admission, BackendEvent, Delta, Finish, Generation, Parsed
from anyclaude.errors import ApiError
from anyclaude.routing.dispatch import Handle


class Told:
    """A generation whose course is told to the routing."""

    def __init__(self, generation: Generation, handle: Handle) -> None:
        self._generation = generation
        self._handle = handle

    @property
    def admission(self) -> Admission:
        return self._generation.admission

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        handle, usage = self._handle, self.admission.usage
        try:
            async for event in self._generation:
                match event:
                    case Delta() | Parsed():
                        handle.first_content(usage.prompt_tokens - usage.cache_read_tokens)
                    case Finish():
                        handle.finished(event.usage.prompt_tokens, event.usage.output_tokens)
                yield event
        except ApiError as error:
            handle.failed(error)
            raise

    async def cancel(self) -> None:
        self._handle.client_gone()
        await self._generation.cancel()
