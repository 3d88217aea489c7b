"""A conversation in Anthropic's form as the messages of a chat completion.

Every message depends only on those before it, so that a longer conversation is sent as an
extension of the shorter one, and the server's prefix cache holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, cast

from anyclaude.backends.openai.names import Names, fit_id
from anyclaude.backends.openai.profiles import Profile
from anyclaude.types import (
    Block,
    JsonObject,
    JsonValue,
    MediaBlock,
    Message,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

Turn: TypeAlias = dict[str, JsonValue]
ForeignThinking: TypeAlias = Literal["drop", "text"]

DOCUMENT_NOTE = "[document omitted: the model reads text only]"
NO_RESULT = "[no result: the call was interrupted]"
CUT = "(The conversation so far was cut.)"


class Conversation:
    """One request's messages. ``own`` tells whether this very model wrote a thinking block.

    ``images`` and ``replay``: whether the model takes images and its own reasoning. ``losses``
    says what couldn't be said, each once.
    """

    def __init__(
        self,
        profile: Profile,
        names: Names,
        own: Callable[[ThinkingBlock], bool],
        *,
        foreign: ForeignThinking = "drop",
        images: bool = True,
        replay: bool = True,
    ) -> None:
        self._profile = profile
        self._replay = profile.replay if replay else ""
        self._names = names
        self._own = own
        self._foreign = foreign
        self._images = images
        self._turns: list[Turn] = []
        self._open: list[ToolUseBlock] = []
        """Calls of the last assistant message that have no result yet."""
        self.losses: list[str] = []

    def run(self, request: MessagesRequest, system: str) -> list[Turn]:
        """The messages; ``system`` is the system prompt."""
        if system:
            self._turns.append({"role": "system", "content": system})
        for message in request.messages:
            match message.role:
                case "assistant":
                    self._assistant(message)
                case "system":
                    self._system(message)
                case _:
                    self._user(message)
        self._without_result()
        if all(turn["role"] == "system" for turn in self._turns):
            self._turns.append({"role": "user", "content": CUT})
        if self._turns[-1]["role"] == "assistant":
            self.lost("the answer's beginning is sent as a turn of its own: it may be said again")
        return self._turns

    def lost(self, what: str) -> None:
        if what not in self.losses:
            self.losses.append(what)

    # ------------------------------------------------------------------------------- roles

    def _system(self, message: Message) -> None:
        text = "\n".join(self._text(block) for block in message.content)
        if text:
            reminder = f"<system-reminder>\n{text}\n</system-reminder>"
            self._say([{"type": "text", "text": reminder}])

    def _user(self, message: Message) -> None:
        blocks = message.content
        calls = {call.id: call for call in self._open}
        answers: dict[str, ToolResultBlock] = {}
        for block in blocks:
            if isinstance(block, ToolResultBlock) and block.tool_use_id in calls:
                answers.setdefault(block.tool_use_id, block)
        parts: list[Turn] = []
        if answers:
            for call in self._open:
                answer = answers.get(call.id)
                text, images = self._result(answer) if answer is not None else (NO_RESULT, [])
                self._tool(call, text)
                if images:
                    label = f"[from the result of {call.name}:]"
                    parts += [{"type": "text", "text": label}, *images]
            self._open = []
        for block in blocks:
            if isinstance(block, ToolResultBlock):
                if answers.get(block.tool_use_id) is not block:
                    text, images = self._result(block)
                    stray = f"[result of the call {block.tool_use_id}]\n{text}"
                    parts += [{"type": "text", "text": stray}, *images]
            else:
                parts += self._parts(block)
        self._say(parts)

    def _assistant(self, message: Message) -> None:
        self._without_result()
        texts: list[str] = []
        thoughts: list[str] = []
        uses: list[ToolUseBlock] = []
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                uses.append(block)
            elif isinstance(block, ThinkingBlock):
                self._thinking(block, thoughts, texts)
            else:
                texts.append(self._text(block))
        turn: Turn = {"role": "assistant", "content": "\n".join(t for t in texts if t.strip())}
        if thoughts:
            turn[self._replay] = "\n".join(thoughts)
        if uses:
            turn["tool_calls"] = [self._call(use) for use in uses]
        if not turn["content"] and len(turn) == 2:
            return
        last = self._turns[-1] if self._turns else {}
        if last.get("role") == "assistant" and "tool_calls" not in last:
            turn["content"] = "\n".join(
                text for text in (str(last["content"]), str(turn["content"])) if text
            )
            self._turns[-1] = {**last, **turn}
        else:
            self._turns.append(turn)
        self._open = uses

    def _thinking(self, block: ThinkingBlock, thoughts: list[str], texts: list[str]) -> None:
        if not block.thinking.strip():
            return
        if self._own(block):
            if self._replay:
                thoughts.append(block.thinking)
            return
        if self._foreign == "text":
            texts.append(block.thinking)

    # ------------------------------------------------------------------------------- pieces

    def _say(self, parts: Sequence[Turn]) -> None:
        """The user says ``parts``, in one turn with what came just before."""
        if not parts:
            return
        self._without_result()
        last = self._turns[-1] if self._turns else {}
        before: list[JsonValue] = []
        if last.get("role") == "user":
            self._turns.pop()
            said = last["content"]
            before = [{"type": "text", "text": said}] if isinstance(said, str) else [*_list(said)]
        self._turns.append({"role": "user", "content": _content([*before, *parts])})

    def _without_result(self) -> None:
        """Whoever checks wants a result for every call, directly behind it."""
        for call in self._open:
            self._tool(call, NO_RESULT)
        self._open = []

    def _tool(self, call: ToolUseBlock, text: str) -> None:
        self._turns.append({"role": "tool", "tool_call_id": fit_id(call.id), "content": text})

    def _call(self, use: ToolUseBlock) -> Turn:
        function = {"name": self._names.sent(use.name), "arguments": _json(use.input)}
        return {"id": fit_id(use.id), "type": "function", "function": function}

    def _result(self, block: ToolResultBlock) -> tuple[str, list[Turn]]:
        """The text, and images that no tool message takes."""
        texts: list[str] = []
        images: list[Turn] = []
        for part in block.content:
            if isinstance(part, MediaBlock) and (image := self._image(part)) is not None:
                images.append(image)
                texts.append("[image: in the next message]")
            else:
                texts.append(self._text(part))
        text = "\n".join(texts)
        return (f"Error: {text}" if block.is_error else text), images

    def _parts(self, block: Block) -> list[Turn]:
        if isinstance(block, MediaBlock) and (image := self._image(block)) is not None:
            return [image]
        text = self._text(block)
        return [{"type": "text", "text": text}] if text else []

    def _image(self, block: MediaBlock) -> Turn | None:
        """The part for an image that the server takes."""
        profile = self._profile
        if block.kind != "image" or not self._images:
            return None
        if block.source == "url" and profile.image_urls:
            url = block.data
        elif block.source == "base64" and block.media_type in profile.image_types:
            url = f"data:{block.media_type};base64,{block.data}"
        else:
            return None
        return {"type": "image_url", "image_url": {"url": url}}

    def _text(self, block: Block) -> str:
        match block:
            case TextBlock():
                return block.text
            case ThinkingBlock():
                return block.thinking
            case MediaBlock(source="text"):
                return block.data
            case MediaBlock(kind="document"):
                self.lost("a document was left out: the server takes text and images only")
                return DOCUMENT_NOTE
            case MediaBlock():
                return self._without_image(block)
            case ToolReferenceBlock():
                return f"The tool {block.tool_name} is available now."
            case OpaqueBlock():
                return _json(block.raw)
            case ToolUseBlock():
                return f"{block.name} {_json(block.input)}"
            case ToolResultBlock():
                return self._result(block)[0]

    def _without_image(self, block: MediaBlock) -> str:
        if not self._images:
            why = "the model has no vision"
        elif block.source == "base64":
            why = f"the server doesn't take {block.media_type}"
        else:
            why = f"the server doesn't take an image by {block.source}"
        self.lost(f"an image was left out: {why}")
        return f"[image omitted: {why}]"


def characters(turns: Sequence[JsonObject]) -> tuple[int, int]:
    """Of the texts, calls and reasoning in ``turns``; and how many images there are."""
    total = images = 0
    for turn in turns:
        content = turn["content"]
        for part in [content] if isinstance(content, str) else _list(content):
            if isinstance(part, str):
                total += len(part)
            elif isinstance(part, Mapping):
                text = part.get("text")
                total += len(text) if isinstance(text, str) else 0
                images += part.get("type") == "image_url"
        for key in ("reasoning", "reasoning_content"):
            total += len(str(turn.get(key, "")))
        if calls := turn.get("tool_calls"):
            total += len(_json(calls))
    return total, images


def _content(parts: Sequence[JsonValue]) -> JsonValue:
    """Plain text where there is nothing else: not every server takes lists."""
    texts = [
        part["text"]
        for part in parts
        if isinstance(part, Mapping) and isinstance(part.get("text"), str)
    ]
    if len(texts) == len(parts):
        return "\n".join(str(text) for text in texts)
    return list(parts)


def _list(value: JsonValue) -> Sequence[JsonValue]:
    return cast("Sequence[JsonValue]", value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
