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


# What the groups of a pattern are. "total" is prompt and output in one figure; "room" is what the
# window leaves for a prompt.
_NUMBERED = (
    # Anthropic
    _p(r"prompt is too long: # tokens > # maximum", "prompt", "maximum"),
    _p(r"exceed context limit: # \+ # > #", "prompt", "output", "maximum"),
    # OpenAI, vLLM, LiteLLM, DeepSeek
    _p(
        r"maximum context length is # tokens.*?requested # tokens \(# in the \w+, # in the",
        *("maximum", "total", "prompt", "output"),
    ),
    # vLLM: it stops counting once a prompt is too long for the output that is to fit beside it.
    _p(
        r"passed # input tokens and requested # output.*?maximum input length of #",
        *("prompt", "output", "room"),
    ),
    _p(
        r"maximum context length is #.*?requested # output.*?contains at least # input",
        *("maximum", "output", "least"),
    ),
    _p(
        r"maximum context length is #.*?requested # output.*?contains # input",
        *("maximum", "output", "prompt"),
    ),
    _p(
        r"max_completion_tokens' is too large: #.*?maximum context length is #.*?has # input",
        *("output", "maximum", "prompt"),
    ),
    _p(r"maximum context length is #.*?has # input tokens", "maximum", "prompt"),
    _p(r"prompt \(length #\) is longer than the maximum model length of #", "prompt", "maximum"),
    _p(r"\(total length #\) is too long.*?\(context length #\)", "prompt", "maximum"),
    # OpenRouter
    _p(
        r"maximum context length is #.*?\(# of text input(?:, # of tool input)?, # in the output",
        *("maximum", "prompt", "tools", "output"),
    ),
    _p(r"maximum context length is #.*?requested about # tokens", "maximum", "prompt"),
    # OpenAI
    _p(r"(?:maximum context length is|configured limit of) #.*?resulted in #", "maximum", "prompt"),
    # SGLang, Together
    _p(r"input \(# tokens\) is longer than the model's context length \(#", "prompt", "maximum"),
    _p(r"length \(#\) exceeds (?:the )?model's maximum context length \(#", "prompt", "maximum"),
    _p(
        r"maximum context length of #.*?total of # tokens: # tokens from.*?and # tokens for",
        *("maximum", "total", "prompt", "output"),
    ),
    # llama.cpp
    _p(r"request \(# tokens\) exceeds the available context size \(#", "prompt", "maximum"),
    # LM Studio
    _p(r"keep the first # tokens when context.*?context length of only #", "prompt", "maximum"),
    _p(r"n_keep:? *\(?#\)? *>= *n_ctx:? *\(?#", "prompt", "maximum"),
    _p(r"input length # exceeds context length #", "prompt", "maximum"),
    # Text Generation Inference
    _p(
        r"must be <= #\. Given: # `inputs` tokens and # `max_new_tokens`",
        *("maximum", "prompt", "output"),
    ),
    _p(r"must have less than # tokens\. Given: #", "maximum", "prompt"),
    # Mistral, xAI, Gemini, Cohere, Moonshot, Copilot, Poolside
    _p(r"contains # tokens.*?too large for model with # maximum", "prompt", "maximum"),
    _p(r"maximum prompt length is # but the request contains #", "maximum", "prompt"),
    _p(r"token count \(?#\)? exceeds the maximum.*?\(#\)", "prompt", "maximum"),
    _p(r"prompt cannot exceed # - received #", "maximum", "prompt"),
    _p(r"exceeded model token limit: # \(requested: #", "maximum", "prompt"),
    _p(r"prompt token count of # exceeds the limit of #", "prompt", "maximum"),
    _p(r"length # exceeds the maximum allowed input length of #", "prompt", "maximum"),
    # Others that serve models on a Mac
    _p(r"prompt has # tokens, but the configured context size is #", "prompt", "maximum"),
    _p(r"prompt (?:is )?too long:? \(?# tokens.*?(?:exceeds|>|limit)\D*#", "prompt", "maximum"),
    _p(r"prompt \(?# tokens\)? exceeds\D*#", "prompt", "maximum"),
)

_UNNUMBERED = re.compile(
    r"prompt is too long"
    r"|prompt too long"  # Ollama
    r"|max_tokens must be at least 1, got -"  # vLLM, of what a long prompt left
    r"|exceeds? (?:the )?(?:model's |maximum |available |max |input )*context"
    r"|longer than the (?:model's context|maximum model) length"
    r"|(?:exceeds|exceeded|greater than) the context (?:window|length|size|limit)"
    r"|maximum context (?:length|limit)"
    r"|context window exceeds"  # MiniMax
    r"|context_?window_?exceeded"  # LiteLLM, Z.ai
    r"|context (?:size|length|window) (?:has been |was )?exceeded"  # llama.cpp
    r"|context_length_exceeded"
    r"|context the overflows|reached context length of"  # LM Studio
    r"|context overflow"
    r"|input is too long for requested model"  # Bedrock
    r"|reduce the length of the (?:messages|input|prompt)"  # Groq
    r"|exceeds the maximum number of tokens allowed"  # Gemini
    r"|exceeded model token limit"  # Moonshot
    r"|prompt exceeds max length"  # Zhipu
    r"|range of input length should be",  # DashScope
    re.IGNORECASE,
)
_CODES = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "context_window_exceeded",
    }
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
            return _overflow(figures)
    if fields:
        prompt, maximum = fields.get("n_prompt_tokens"), fields.get("n_ctx")  # llama.cpp
        if isinstance(prompt, int) and isinstance(maximum, int):
            return Overflow(prompt, 0, maximum)
    if code in _CODES or _UNNUMBERED.search(message):
        return Overflow()
    return None


def _overflow(figures: Mapping[str, int]) -> Overflow:
    prompt = figures.get("prompt", 0) + figures.get("tools", 0)
    output, maximum = figures.get("output", 0), figures.get("maximum", 0)
    if "room" in figures:
        return Overflow(prompt, 0, figures["room"])
    if "least" in figures:
        return Overflow(figures["least"], 0, maximum - output)
    return Overflow(prompt, output, maximum)
