"""Turns to text with a model's own template, the parts that would move held in place."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from anyclaude.engine.template_messages import Turn
from anyclaude.engine.template_probe import TemplateRefused, common_prefix

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

_DATE_CALL = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
_PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message.role | capitalize }}: "
    "{{ message.content }}\n\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


class TextRenderer:
    """Renders with one tokenizer's template, or a plain one for a model that has none.

    Dates that the template writes are those of ``at``: they would break every prefix at
    midnight.
    """

    def __init__(self, tokenizer: TokenizerWrapper, at: datetime.datetime) -> None:
        self._tokenizer = tokenizer
        # Only where it differs from the tokenizer's: renderers written in Python take none.
        self._instead: dict[str, str] = {}
        if not tokenizer.has_chat_template:
            self._instead["chat_template"] = _PLAIN_TEMPLATE
        elif isinstance(template := tokenizer.chat_template, str) and _DATE_CALL.search(template):
            self._instead["chat_template"] = _DATE_CALL.sub(
                lambda call: json.dumps(at.strftime(call[2])), template
            )

    def __call__(
        self,
        turns: Sequence[Turn],
        *,
        tools: Sequence[Mapping[str, object]] = (),
        tail: bool = False,
        thinking: bool = False,
    ) -> str:
        """The text; raises :class:`TemplateRefused` with the template's reason."""
        try:
            text = self._tokenizer.apply_chat_template(
                [dict(turn) for turn in turns],
                tools=list(tools) or None,
                add_generation_prompt=tail,
                tokenize=False,
                enable_thinking=thinking,
                **self._instead,
            )
        except Exception as error:  # a template is a program of the model's maker
            raise TemplateRefused(str(error) or type(error).__name__) from error
        return str(text)

    def with_fixed_tools(
        self,
        turns: Sequence[Turn],
        *,
        tools: Sequence[Mapping[str, object]] = (),
        tail: bool = False,
        thinking: bool = False,
    ) -> str:
        """The same for a template that tells the tools before the latest user turn: here they
        are told before the first one, where they stay."""
        text = self(turns, tail=tail, thinking=thinking)
        if not tools:
            return text
        first = next((at for at, turn in enumerate(turns) if turn["role"] == "user"), None)
        opening = turns[: first + 1] if first is not None else turns
        bare = self(opening, thinking=thinking)
        told = self(opening, tools=tools, thinking=thinking)
        at = len(common_prefix(bare, told))
        header = told[at : at + len(told) - len(bare)]
        if told != bare[:at] + header + bare[at:] or not text.startswith(bare[:at]):
            return self(turns, tools=tools, tail=tail, thinking=thinking)
        return text[:at] + header + text[at:]
