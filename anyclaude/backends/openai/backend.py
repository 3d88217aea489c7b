"""A server that speaks chat completions, as one of anyclaude's backends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from anyclaude.backend import Admission, BackendRequest
from anyclaude.backends.faults import Headers, garbage, read_error
from anyclaude.backends.http import Reply, Timeouts, Upstream
from anyclaude.backends.openai import discovery
from anyclaude.backends.openai.decode import Decoder
from anyclaude.backends.openai.discovery import Found, UpstreamModel
from anyclaude.backends.openai.figures import TokenFigures
from anyclaude.backends.openai.generation import Figures, OpenAiGeneration
from anyclaude.backends.openai.learn import STATUSES, learn
from anyclaude.backends.openai.messages import ForeignThinking
from anyclaude.backends.openai.profiles import PROFILES, Profile
from anyclaude.backends.openai.request import Converted, Learned, Target, convert
from anyclaude.backends.signatures import Origin, SignatureLedger
from anyclaude.errors import ConfigError, EngineFailed, UpstreamError
from anyclaude.types import ThinkingBlock, Usage

AUTO = "auto"
MAX_LESSONS = 6
"""Refusals that one request may meet before the next is final."""

MAX_MODELS = 256
"""Models whose refusals are remembered."""

_PATH = "/chat/completions"
_VECTOR_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpenAiOptions:
    """One such server.

    ``base_url`` is what stands before ``/chat/completions``, as in ``http://127.0.0.1:1234/v1``.
    ``profile`` is a name of :data:`PROFILES`, or "auto": found out by a look at its models.
    ``headers`` are added to each request. ``context_limit`` is in tokens, 0 for what the server
    says. ``foreign_thinking`` is what becomes of reasoning that another model wrote.
    """

    name: str
    base_url: str
    api_key: str = field(default="", repr=False)
    profile: str = AUTO
    headers: Headers = field(default=(), repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    context_limit: int = 0
    foreign_thinking: ForeignThinking = "drop"


class OpenAiBackend:
    """See :class:`anyclaude.backend.Backend`. Raises ConfigError for options it can't work with.

    ``signatures`` is shared by all backends, so that each knows its own reasoning.
    """

    def __init__(
        self,
        options: OpenAiOptions,
        signatures: SignatureLedger,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if options.profile != AUTO and options.profile not in PROFILES:
            known = ", ".join([AUTO, *PROFILES])
            raise ConfigError(
                f"backends.{options.name}.profile: {options.profile!r} is none of {known}"
            )
        self._options = options
        self._signatures = signatures
        self._clock = clock
        self._upstream = Upstream(options.name, options.base_url, options.timeouts)
        self._figures = TokenFigures()
        self._learned: dict[str, Learned] = {}
        self._found: Found | None = None
        self._looking = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._options.name

    @property
    def fingerprint(self) -> str:
        """Where the answers come from; which weights do, no such server tells."""
        return f"{self.name} {self._upstream.base_url}"

    @property
    def figures(self) -> TokenFigures:
        """What was learned about its models' tokens."""
        return self._figures

    async def open(self, request: BackendRequest) -> OpenAiGeneration:
        if request.resume is not None:
            raise EngineFailed(f"{self.name} can't go on with an answer that was begun")
        found = await self._look()
        model = await self._model(request, found)
        notes: list[str] = []
        for lessons in range(MAX_LESSONS + 1):
            converted = self._convert(request, found, model)
            text = json.dumps(converted.body, ensure_ascii=False)
            reply = await self._upstream.post(_PATH, self._headers(), _utf8(text))
            if reply.status == 200:
                admission = self._admission(model, converted, text, notes)
                return self._generation(reply, converted, admission, found.profile)
            error = await reply.error()
            refused = self._learn(model, converted, reply.status, error.raw)
            if not refused or lessons == MAX_LESSONS:
                raise error
            notes.append(f"{self.name} refused {refused} for {model}: sent again without")
        raise AssertionError("the last attempt returns or raises")

    async def count(self, request: BackendRequest) -> int:
        """An estimate, by what a token of this model's was in characters so far."""
        found = await self._look()
        model = await self._model(request, found)
        return self._convert(request, found, model).tokens

    async def embed(self, model: str, text: str) -> tuple[float, ...]:
        """The text's vector by one of the server's embedding models; raises UpstreamError."""
        body = _utf8(json.dumps({"model": model, "input": text}, ensure_ascii=False))
        reply = await self._upstream.post("/embeddings", self._headers(), body)
        if reply.status != 200:
            raise await reply.error()
        try:
            answer = json.loads(await reply.read(_VECTOR_BYTES))
            return tuple(float(number) for number in answer["data"][0]["embedding"])
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise garbage(self.name, "no embedding") from error

    async def models(self) -> tuple[UpstreamModel, ...]:
        """The models that the server lists; raises UpstreamError."""
        return await discovery.list_models(self._upstream, self._headers())

    async def model_names(self) -> tuple[str, ...]:
        return tuple(model.id for model in await self.models())

    async def health(self) -> None:
        """Raises UpstreamError unless the server answers and takes our key."""
        reply = await self._upstream.get(
            "/models", self._headers(), timeouts=discovery.probing(self._upstream)
        )
        # Not every server has a list of models, and one that breaks off in it is up.
        if reply.status in (401, 403) or reply.status >= 500:
            raise await reply.error()
        reply.close()

    async def profile(self) -> Profile:
        """What the server is taken for."""
        return (await self._look()).profile

    async def close(self) -> None:
        """Closes the connections; answers that are still coming break off."""
        await self._upstream.close()

    # ------------------------------------------------------------------------------ requests

    def _headers(self) -> list[tuple[str, str]]:
        own = {name.lower() for name, _ in self._options.headers}
        headers = [("content-type", "application/json"), ("accept", "text/event-stream, */*")]
        if self._options.api_key:
            headers.append(("authorization", f"Bearer {self._options.api_key}"))
        return [*(pair for pair in headers if pair[0] not in own), *self._options.headers]

    def _convert(self, request: BackendRequest, found: Found, model: str) -> Converted:
        origin = Origin(self.name, model)
        tools = request.callable_tools or request.request.tools

        def own(block: ThinkingBlock) -> bool:
            return self._signatures.origin(block) == origin

        target = Target(
            profile=found.profile,
            model=model,
            tools=tools,
            own=own,
            tokens=lambda characters, images: self._figures.prompt(model, characters, images),
            foreign=self._options.foreign_thinking,
            learned=self._known(found, model),
        )
        return convert(request.request, target)

    def _known(self, found: Found, model: str) -> Learned:
        learned = self._learned.get(model, Learned())
        if learned.window:
            return learned
        listed = next((m.context_limit for m in found.models if m.id == model), 0)
        return replace(learned, window=self._options.context_limit or listed)

    def _learn(self, model: str, converted: Converted, status: int, body: bytes) -> str:
        """What a refusal was about, remembered from now on; empty if it taught nothing."""
        if status not in STATUSES:
            return ""
        before = self._learned.get(model, Learned())
        lesson = learn(before, read_error(body), converted.body, images=converted.images > 0)
        if lesson is None or (lesson.learned == before and not lesson.prompt):
            return ""
        if lesson.prompt:
            self._figures.learn(model, converted.characters, converted.images, lesson.prompt)
        self._learned[model] = lesson.learned
        while len(self._learned) > MAX_MODELS:
            del self._learned[next(iter(self._learned))]
        return lesson.refused

    # ------------------------------------------------------------------------------- answers

    def _admission(
        self, model: str, converted: Converted, text: str, notes: list[str]
    ) -> Admission:
        return Admission(
            backend=self.name,
            model=model,
            usage=Usage(converted.tokens),
            tier=None,
            rendered_prompt=text,
            notes=(*notes, *converted.losses),
            estimated=True,
        )

    def _generation(
        self, reply: Reply, converted: Converted, admission: Admission, profile: Profile
    ) -> OpenAiGeneration:
        model = admission.model
        origin = Origin(self.name, model)
        decoder = Decoder(
            converted.names,
            lambda thought: self._signatures.remember(origin, thought),
            think_tags=profile.think_tags,
            stops=converted.stops,
        )

        def learned(tokens: int) -> None:
            self._figures.learn(model, converted.characters, converted.images, tokens)

        figures = Figures(learned, self._figures.ratio(model))
        return OpenAiGeneration(reply, decoder, admission, figures, self._clock)

    # ---------------------------------------------------------------------------- the server

    async def _look(self) -> Found:
        """What the server is, asked once."""
        if self._found is None and self._options.profile != AUTO:
            self._found = Found(PROFILES[self._options.profile], (), True)
        async with self._looking:
            found = self._found
            if found is None:
                found = await discovery.look(self._upstream, self._headers())
                self._found = found if found.certain else None
            return found

    async def _model(self, request: BackendRequest, found: Found) -> str:
        """The server's own name of the model that is to answer."""
        name = request.model or found.profile.unnamed
        if name:
            return name
        if not found.models:
            try:
                found = replace(found, models=await self.models())
            except UpstreamError:
                return request.request.model
            self._found = found if found.certain else None
        ids = [model.id for model in found.models]
        return next((id_ for id_ in ids if "embed" not in id_.lower()), request.request.model)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
