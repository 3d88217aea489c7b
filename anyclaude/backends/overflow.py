"""That a prompt is too long, in the words of every server known to say so.

Sources of the wordings: the servers' own code and the errors in their issue trackers, as of
November 2026; each pattern names its server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_N = r"([\d,]+)"


@dataclass(frozen=True, slots=True)
class Overflow:
    """Tokens, 0 where the server didn't say: of the prompt, asked for as output, of the window."""

    prompt: int = 0
    output: int = 0
    maximum: int = 0

    @property
    def message(self) -> str:
        """In Anthropic's words, on which Claude Code compacts or asks for less output."""
        if self.prompt and self.maximum and self.prompt > self.maximum:
            return f"prompt is too long: {self.prompt} tokens > {self.maximum} maximum"
        if self.prompt and self.output and self.maximum:
            return (
                f"input length and `max_tokens` exceed context limit: {self.prompt} + {self.output}"
                f" > {self.maximum}, decrease input length or `max_tokens` and try again"
            )
        return ""


def _p(pattern: str, *groups: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    return re.compile(pattern.replace("#", _N), re.IGNORECASE | re.DOTALL), groups


# What the groups of a pattern are. "total" is prompt and output in one figure.
_NUMBERED = (
    # Anthropic
    _p(r"prompt is too long: # tokens > # maximum", "prompt", "maximum"),
    _p(r"exceed context limit: # \+ # > #", "prompt", "output", "maximum"),
    # OpenAI, vLLM, LiteLLM, DeepSeek
    _p(
        r"maximum context length is # tokens.*?requested # tokens \(# in the \w+, # in the",
        "maximum",
        "total",
        "prompt",
        "output",
    ),
    # OpenRouter
    _p(
        r"maximum context length is # tokens.*?requested about # tokens \(# of text input,"
        r"(?: # of tool input,)? # in the output",
        "maximum",
        "total",
        "prompt",
        "tools",
        "output",
    ),
    _p(r"maximum context length is # tokens.*?resulted in # tokens", "maximum", "prompt"),
    # vLLM
    _p(
        r"max_completion_tokens' is too large: #.*?maximum context length is # tokens"
        r".*?has # input tokens",
        "output",
        "maximum",
        "prompt",
    ),
    _p(r"maximum context length is # tokens.*?has # input tokens", "maximum", "prompt"),
    _p(
        r"passed # input tokens and requested # output tokens.*?context length is only # tokens",
        "prompt",
        "output",
        "maximum",
    ),
    _p(r"prompt \(length #\) is longer than the maximum model length of #", "prompt", "maximum"),
    _p(r"Input length \(#\) exceeds model's maximum context length \(#\)", "prompt", "maximum"),
    # SGLang
    _p(r"input \(# tokens\) is longer than the model's context length \(#", "prompt", "maximum"),
    _p(
        r"maximum context length of # tokens.*?total of # tokens: # tokens from the input"
        r".*?and # tokens for",
        "maximum",
        "total",
        "prompt",
        "output",
    ),
    # llama.cpp
    _p(r"request \(# tokens\) exceeds the available context size \(# tokens", "prompt", "maximum"),
    # LM Studio
    _p(r"keep the first # tokens when context.*?context length of only #", "prompt", "maximum"),
    _p(r"greater than the context length \(n_keep: #\s*>=\s*n_ctx: #", "prompt", "maximum"),
    # Text Generation Inference
    _p(
        r"must be <= #\. Given: # `inputs` tokens and # `max_new_tokens`",
        "maximum",
        "prompt",
        "output",
    ),
    _p(r"must have less than # tokens\. Given: #", "maximum", "prompt"),
    # Mistral, xAI, Gemini, Cohere
    _p(r"contains # tokens.*?too large for model with # maximum", "prompt", "maximum"),
    _p(r"maximum prompt length is # but the request contains # tokens", "maximum", "prompt"),
    _p(r"input token count \(?#\)? exceeds the maximum.*?\(#\)", "prompt", "maximum"),
    _p(r"prompt cannot exceed # - received #", "maximum", "prompt"),
    # mlx servers and proxies in front of them
    _p(r"prompt too long:? # tokens.*?(?:exceeds|>|limit)\D*#", "prompt", "maximum"),
    _p(r"prompt \(?# tokens\)? exceeds[^\d]*#", "prompt", "maximum"),
)

_UNNUMBERED = re.compile(
    r"prompt is too long"
    r"|prompt too long"  # Ollama
    r"|maximum context length"
    r"|exceeds? the (?:model's )?context (?:window|length|size)"
    r"|exceeds? (?:the )?(?:maximum|available|max) context"
    r"|exceeds the context window"
    r"|context window exceeds"
    r"|contextwindowexceeded"  # LiteLLM
    r"|context (?:size|length|window) (?:has been |was )?exceeded"  # llama.cpp
    r"|context_length_exceeded"
    r"|greater than the context length"  # LM Studio
    r"|reached context length of"
    r"|context the overflows"
    r"|context overflow"
    r"|input is too long for requested model"  # Bedrock
    r"|reduce the length of the (?:messages|input|prompt)"  # Groq
    r"|exceeded model token limit"  # Moonshot
    r"|prompt exceeds max length"  # Zhipu
    r"|range of input length should be",  # DashScope
    re.IGNORECASE,
)
_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
)


def find(
    message: str, code: str = "", fields: Mapping[str, object] | None = None
) -> Overflow | None:
    """What ``message``, the error's ``code`` or its ``fields`` say of an overflow, if they do."""
    for pattern, groups in _NUMBERED:
        if match := pattern.search(message):
            figures = {
                name: int(digits.replace(",", ""))
                for name, digits in zip(groups, match.groups(), strict=True)
                if digits and digits.strip(",")
            }
            return Overflow(
                figures.get("prompt", 0) + figures.get("tools", 0),
                figures.get("output", 0),
                figures.get("maximum", 0),
            )
    if fields:
        prompt, maximum = fields.get("n_prompt_tokens"), fields.get("n_ctx")  # llama.cpp
        if isinstance(prompt, int) and isinstance(maximum, int):
            return Overflow(prompt, 0, maximum)
    if code in _CODES or _UNNUMBERED.search(message):
        return Overflow()
    return None
