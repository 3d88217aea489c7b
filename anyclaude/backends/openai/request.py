"""A canonical request as the body of a chat completion."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from anyclaude.backends.openai.messages import Conversation, ForeignThinking, characters
from anyclaude.backends.openai.names import Names
from anyclaude.backends.openai.profiles import Profile
from anyclaude.backends.openai.schemas import parameters, strict
from anyclaude.types import (
    JsonObject,
    JsonValue,
    MessagesRequest,
    ThinkingBlock,
    ToolDefinition,
    ToolUseBlock,
)

LOW_BUDGET = 4_096
MEDIUM_BUDGET = 16_384
"""Thinking budgets up to which the effort is low and medium; Claude Code's 31,999 is high."""

LEAST_OUTPUT = 1_024
MARGIN = 1.1
"""With a window known, the output gets what an estimate of the prompt and a tenth leave of it."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a server has refused for one model, and is therefore not sent again.

    ``fields`` of the body, ``keywords`` of tools' schemas; ``token_limit`` is the name that it
    wants the limit under, if not the profile's. ``max_tokens`` is the most it takes, ``window``
    its context in tokens, ``description`` the longest description of a tool in characters; 0 is
    no limit.
    """

    fields: frozenset[str] = frozenset()
    keywords: frozenset[str] = frozenset()
    token_limit: str = ""
    max_tokens: int = 0
    window: int = 0
    description: int = 0
    images: bool = True
    replay: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """Who a request is converted for. ``tools`` may be called: its own and deferred ones.

    ``own`` tells whether this very model wrote a thinking block; ``foreign`` is what becomes of
    one that it didn't write. ``tokens`` estimates a prompt from its characters and images.
    """

    profile: Profile
    model: str
    tools: tuple[ToolDefinition, ...]
    own: Callable[[ThinkingBlock], bool]
    tokens: Callable[[int, int], int]
    foreign: ForeignThinking = "drop"
    learned: Learned = field(default_factory=Learned)


@dataclass(frozen=True, slots=True)
class Converted:
    """``losses`` says what of the request the server isn't told. ``stops`` are stop sequences
    that it doesn't watch for. ``characters`` and ``images`` is what the prompt is made of, and
    ``tokens`` an estimate of it."""

    body: JsonObject
    names: Names
    losses: tuple[str, ...]
    stops: tuple[str, ...]
    characters: int
    images: int
    tokens: int


def convert(request: MessagesRequest, target: Target) -> Converted:
    """The body that says what ``request`` says, as far as the server can be told."""
    return _Conversion(request, target).run()


class _Conversion:
    def __init__(self, request: MessagesRequest, target: Target) -> None:
        self._request = request
        self._target = target
        self._profile = target.profile
        self._learned = target.learned
        self._body: dict[str, JsonValue] = {}
        self._losses: list[str] = []
        self._told: list[str] = []
        """Descriptions too long for their field, which the system prompt has in full."""
        self._offered = self._choose_tools()
        blocks = (block for message in request.messages for block in message.content)
        used = (block.name for block in blocks if isinstance(block, ToolUseBlock))
        self._names = Names([*(tool.name for tool in self._offered), *used])

    def run(self) -> Converted:
        request, learned = self._request, self._learned
        tools = [self._tool(tool) for tool in self._offered]
        talk = Conversation(
            self._profile,
            self._names,
            self._target.own,
            foreign=self._target.foreign,
            images=learned.images,
            replay=learned.replay,
        )
        system = [block.text for block in request.system if block.text.strip()]
        turns = talk.run(request, "\n\n".join([*system, *self._told]))
        self._losses += talk.losses
        self._body["model"] = self._target.model
        self._body["messages"] = turns
        if tools:
            self._body["tools"] = tools
            self._tool_choice()
        said, images = characters(turns)
        said += len(json.dumps(tools, ensure_ascii=False)) if tools else 0
        tokens = self._target.tokens(said, images)
        self._limit(tokens)
        self._sampling()
        stops = self._stops()
        self._format(bool(tools))
        self._thinking()
        self._body["stream"] = True
        if self._profile.usage_option:
            self._body["stream_options"] = {"include_usage": True}
        for name in learned.fields & self._body.keys():
            del self._body[name]
            if name == "stop":
                stops = request.stop_sequences
            elif name != "stream_options":
                self._losses.append(f"{name} was left out: the server refused it before")
        losses = tuple(self._losses)
        return Converted(self._body, self._names, losses, stops, said, images, tokens)

    # -------------------------------------------------------------------------------- tools

    def _choose_tools(self) -> tuple[ToolDefinition, ...]:
        """The tools that the server is told of."""
        request, profile = self._request, self._profile
        choice = request.tool_choice
        tools = request.tools
        if profile.deferred:
            known = {tool.name for tool in tools}
            tools += tuple(tool for tool in self._target.tools if tool.name not in known)
        if choice.mode == "none" and profile.tool_choice == "none":
            return ()  # It can't be told that they may not be called.
        if choice.mode == "tool" and profile.tool_choice != "named":
            only = tuple(tool for tool in tools if tool.name == choice.name)
            return only or tools
        return tools

    def _tool(self, tool: ToolDefinition) -> JsonValue:
        learned = self._learned
        schema, gone = parameters(tool.input_schema, self._profile.keywords | learned.keywords)
        for keyword in sorted(gone - self._profile.keywords):
            self._lost(f"{keyword} was left out of the tools' schemas: the server refused it")
        name, description = self._names.sent(tool.name), tool.description
        if learned.description and len(description) > learned.description:
            self._told.append(f"# The tool {name}\n{description}")
            description = description[: learned.description]
        return {
            "type": "function",
            "function": {"name": name, "description": description, "parameters": schema},
        }

    def _tool_choice(self) -> None:
        choice, how = self._request.tool_choice, self._profile.tool_choice
        named = choice.mode == "tool" and choice.name is not None
        if how == "none":
            if choice.mode in ("any", "tool"):
                self._lost("a call can't be demanded: the server has no tool_choice")
        elif named and how == "named":
            function = {"name": self._names.sent(choice.name or "")}
            self._body["tool_choice"] = {"type": "function", "function": function}
        elif choice.mode in ("any", "tool"):
            self._body["tool_choice"] = "required"
        elif choice.mode == "none":
            self._body["tool_choice"] = "none"
        if choice.disable_parallel:
            if self._profile.parallel:
                self._body["parallel_tool_calls"] = False
            else:
                self._lost("one call at a time can't be asked for: the server has no such field")

    # ------------------------------------------------------------------------------- fields

    def _limit(self, prompt: int) -> None:
        asked, most = self._request.max_tokens, self._learned.max_tokens
        if most and asked > most:
            self._lost(f"max_tokens is {most} instead of {asked}: the server takes no more")
            asked = most
        window = self._learned.window
        if window and asked + prompt * MARGIN > window:
            room = max(LEAST_OUTPUT, int(window - prompt * MARGIN))
            if room < asked:
                self._lost(f"max_tokens is {room} instead of {asked}: the context is {window}")
                asked = room
        self._body[self._learned.token_limit or self._profile.token_limit] = asked

    def _sampling(self) -> None:
        sampling = self._request.sampling
        if sampling.temperature is not None:
            self._body["temperature"] = sampling.temperature
        if sampling.top_p is not None:
            self._body["top_p"] = sampling.top_p
        if sampling.top_k is not None:
            if self._profile.top_k:
                self._body["top_k"] = sampling.top_k
            else:
                self._lost("top_k isn't passed on: the server has no such field")

    def _stops(self) -> tuple[str, ...]:
        """Those that are left for us to watch for."""
        stops, most = self._request.stop_sequences, self._profile.stops
        if stops[:most]:
            self._body["stop"] = list(stops[:most])
        return stops[most:]

    def _format(self, with_tools: bool) -> None:
        schema, profile = self._request.output_schema, self._profile
        if schema is None:
            return
        if not profile.formats or (with_tools and not profile.formats_with_tools):
            beside = " beside tools" if profile.formats else ""
            self._lost(f"the answer isn't held to its schema: the server can't do that{beside}")
            return
        format_: JsonObject = {"name": "answer", "schema": schema, "strict": strict(schema)}
        self._body["response_format"] = {"type": "json_schema", "json_schema": format_}

    def _thinking(self) -> None:
        thinking, profile = self._request.thinking, self._profile
        on = thinking is not None and thinking.enabled
        budget = thinking.budget_tokens if thinking is not None and on else None
        match profile.thinking:
            case "enable_thinking":
                self._body["chat_template_kwargs"] = {"enable_thinking": on}
            case "reasoning_effort" if budget:
                self._body["reasoning_effort"] = _effort(budget)
            case "reasoning_effort" if not on and profile.thinks_unasked:
                self._body["reasoning_effort"] = "none"
            case "reasoning":
                # It has to be under max_tokens, and Anthropic's models take no less than 1,024.
                room = min(budget or 0, self._request.max_tokens - 1)
                asked: JsonObject = {"max_tokens": room} if room >= 1024 else {"enabled": on}
                self._body["reasoning"] = asked
            case _:
                if on and not profile.thinking:
                    self._lost("thinking isn't asked for: the server has no word for it")

    def _lost(self, what: str) -> None:
        if what not in self._losses:
            self._losses.append(what)


def _effort(budget: int) -> str:
    if budget <= LOW_BUDGET:
        return "low"
    return "medium" if budget <= MEDIUM_BUDGET else "high"
