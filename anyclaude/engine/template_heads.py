"""The tokens that every conversation with the same system prompt and tools begins with."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from anyclaude.engine.template_bounds import common_length
from anyclaude.engine.template_messages import (
    ToolFallback,
    Traits,
    Turn,
    shape,
    system_text,
    wants_thinking,
)
from anyclaude.engine.template_probe import TemplateRefused
from anyclaude.types import MessagesRequest, Tokens

_REMEMBERED = 16


class Heads:
    """``begun`` gives a request's tokens with other turns; what it gives for two of them tells
    where they part. Any thread; the last 16 are remembered."""

    def __init__(
        self,
        begun: Callable[[MessagesRequest, Sequence[Turn]], Tokens],
        traits: Traits,
        fallback: ToolFallback,
    ) -> None:
        self._begun = begun
        self._traits = traits
        self._fallback = fallback
        self._heads: OrderedDict[str, Tokens] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, request: MessagesRequest) -> Tokens:
        """The head of the request; empty when the template refuses one without its messages."""
        tools = [tool.function for tool in request.tools]
        system = system_text(request, self._traits, self._fallback)
        key = json.dumps([system, tools, wants_thinking(request)])
        with self._lock:
            if (head := self._heads.get(key)) is not None:
                self._heads.move_to_end(key)
                return head
        start: list[Turn] = [{"role": "system", "content": system}] if system else []
        try:
            one, other = (
                self._begun(
                    request, shape([*start, {"role": "user", "content": words}], self._traits)
                )
                for words in ("One", "another")
            )
        except TemplateRefused:
            return ()
        head = one[: common_length(one, other)]
        with self._lock:
            self._heads[key] = head
            if len(self._heads) > _REMEMBERED:
                self._heads.popitem(last=False)
        return head
