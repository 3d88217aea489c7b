"""That a prompt is too long, as each server says it, in the words that make the client act."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends import overflow
from anyclaude.backends.overflow import Overflow

LONG = "prompt is too long: 5000 tokens > 4096 maximum"
OUTPUT = (
    "input length and `max_tokens` exceed context limit: 3000 + 2000 > 4096, "
    "decrease input length or `max_tokens` and try again"
)

NUMBERED = {
    "Anthropic": ("prompt is too long: 5000 tokens > 4096 maximum", LONG),
    "Anthropic, output": (OUTPUT, OUTPUT),
    "OpenAI": (
        "This model's maximum context length is 4096 tokens. However, your messages resulted in "
        "5000 tokens. Please reduce the length of the messages.",
        LONG,
    ),
    "OpenAI, limit": (
        "Input tokens exceed the configured limit of 4096 tokens. Your messages resulted in 5000 "
        "tokens. Please reduce the length of the messages.",
        LONG,
    ),
    "vLLM, prompt": (
        "This model's maximum context length is 4096 tokens. However, you requested 7000 tokens "
        "(5000 in the messages, 2000 in the completion). Please reduce the length of the messages "
        "or completion.",
        LONG,
    ),
    "vLLM, output": (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
        "(3000 in the messages, 2000 in the completion). Please reduce the length of the messages "
        "or completion.",
        OUTPUT,
    ),
    "vLLM 0.9": (
        "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context "
        "length is 4096 tokens and your request has 3000 input tokens (2000 > 4096 - 3000).",
        OUTPUT,
    ),
    "vLLM 0.10": (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input "
        "tokens. Please reduce the length of the input messages.",
        LONG,
    ),
    "vLLM 0.17": (
        "You passed 2097 input tokens and requested 2000 output tokens. However, the model's "
        "context length is only 4096 tokens, resulting in a maximum input length of 2096 tokens. "
        "Please reduce the length of the input prompt. (parameter=input_tokens, value=2097)",
        "prompt is too long: 2097 tokens > 2096 maximum",
    ),
    "vLLM, at least": (
        "This model's maximum context length is 4096 tokens. However, you requested 2000 output "
        "tokens and your prompt contains at least 2097 input tokens, for a total of at least 4097 "
        "tokens.",
        "prompt is too long: 2097 tokens > 2096 maximum",
    ),
    "vLLM, contains": (
        "This model's maximum context length is 4096 tokens. However, you requested 2000 output "
        "tokens and your prompt contains 3000 input tokens, for a total of 5000 tokens.",
        OUTPUT,
    ),
    "vLLM, decoder": (
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make "
        "sure that `max_model_len` is no smaller than the number of text tokens.",
        LONG,
    ),
    "vLLM, total": (
        "The prompt (total length 5000) is too long to fit into the model (context length 4096).",
        LONG,
    ),
    "LiteLLM": (
        "litellm.ContextWindowExceededError: litellm.BadRequestError: This model's maximum context "
        "length is 4,096 tokens. However, your messages resulted in 5,000 tokens.",
        LONG,
    ),
    "OpenRouter": (
        "This endpoint's maximum context length is 4096 tokens. However, you requested about 5000 "
        "tokens (2500 of text input, 500 of tool input, 2000 in the output). Please reduce the "
        "length of either one",
        OUTPUT,
    ),
    "OpenRouter, prompt": (
        "This endpoint's maximum context length is 4096 tokens. However, you requested about 5000 "
        "tokens (5000 of text input).",
        LONG,
    ),
    "SGLang": (
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        LONG,
    ),
    "SGLang, older": (
        "Input length (5000) exceeds model's maximum context length (4096).",
        LONG,
    ),
    "SGLang, output": (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You "
        "requested a total of 5000 tokens: 3000 tokens from the input messages and 2000 tokens for "
        "the completion.",
        OUTPUT,
    ),
    "llama.cpp": (
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        LONG,
    ),
    "LM Studio": (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough.",
        LONG,
    ),
    "LM Studio, n_keep": ("Cannot truncate prompt with n_keep (5000) >= n_ctx (4096)", LONG),
    "LM Studio, keep": (
        "The number of tokens to keep from the initial prompt is greater than the context length "
        "(n_keep: 5000>= n_ctx: 4096). Try to load the model with a larger context length",
        LONG,
    ),
    "LM Studio, early": ("Error: Input length 5000 exceeds context length 4096", LONG),
    "TGI": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 "
        "`inputs` tokens and 2000 `max_new_tokens`",
        OUTPUT,
    ),
    "TGI, prompt": ("`inputs` must have less than 4096 tokens. Given: 5000", LONG),
    "Mistral": (
        "Prompt contains 5000 tokens and 0 draft tokens, too large for model with 4096 maximum "
        "context length",
        LONG,
    ),
    "xAI": (
        "This model's maximum prompt length is 4096 but the request contains 5000 tokens.",
        LONG,
    ),
    "Gemini": (
        "The input token count (5000) exceeds the maximum number of tokens allowed (4096).",
        LONG,
    ),
    "Cohere": (
        "too many tokens: total number of tokens in the prompt cannot exceed 4096 - received 5000.",
        LONG,
    ),
    "Moonshot": ("Your request exceeded model token limit: 4096 (requested: 5000)", LONG),
    "Copilot": ("prompt token count of 5000 exceeds the limit of 4096", LONG),
    "Poolside": (
        "Input length 5000 exceeds the maximum allowed input length of 4096 tokens.",
        LONG,
    ),
    "DS4": ("Prompt has 5000 tokens, but the configured context size is 4096 tokens", LONG),
    "an MLX server": ("Prompt too long: 5000 tokens exceeds limit 4096", LONG),
}

UNNUMBERED = [
    "prompt too long; exceeded max context length by 4021 tokens",  # Ollama
    "the input length exceeds the context length",  # Ollama
    "the request exceeds the available context size. try increasing the context size",
    "Context size has been exceeded.",  # LM Studio, llama.cpp
    "Reached context length of 4096 tokens with model that does not support overflow",
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "Please reduce the length of the messages or completion.",  # Groq
    "max_tokens must be at least 1, got -186.",  # vLLM
    "Input is too long for requested model.",  # Bedrock
    "Your request exceeded model token limit: 8192",  # Moonshot
    "Prompt exceeds max length",  # Zhipu
    "Range of input length should be [1, 30720]",  # DashScope
    "invalid params, context window exceeds limit",  # MiniMax
    "The input exceeds the model's maximum context limit of 8192 tokens.",
    "Your prompt is longer than the model's context length of 2048.",
]

OTHER = [
    "",
    "max_tokens: Field required",
    "max_tokens must be at least 1, got 0",
    "Rate limit reached: Limit 12000, Requested 15000 tokens per minute",
    "Model 'x' not found",
    "Invalid schema for function 'f': context is required",
    "max_tokens: 200000 > 64000, which is the maximum allowed number of output tokens",
    "The model produced too many tool calls",
    "string too long",
]


@pytest.mark.parametrize(("said", "expected"), NUMBERED.values(), ids=NUMBERED.keys())
def test_figures_become_the_clients_wording(said: str, expected: str) -> None:
    found = overflow.find(said)
    assert found is not None
    assert found.message == expected


@pytest.mark.parametrize("said", UNNUMBERED)
def test_without_figures_it_is_still_an_overflow(said: str) -> None:
    assert overflow.find(said) is not None


@pytest.mark.parametrize("said", OTHER)
def test_other_refusals_are_none(said: str) -> None:
    assert overflow.find(said) is None


def test_codes_and_fields() -> None:
    assert overflow.find("nope", "context_length_exceeded") == Overflow()
    fields = {"n_prompt_tokens": 5000, "n_ctx": 4096}
    assert overflow.find("too large", "400", fields) == Overflow(5000, 0, 4096)
    assert overflow.find("too large", "400", {"n_ctx": 4096}) is None


@given(
    st.text() | st.from_regex(r"(maximum context length is |prompt |[\d,]{1,9} tokens ?|\(){1,9}")
)
def test_no_text_raises(text: str) -> None:
    found = overflow.find(text)
    assert found is None or min(found.prompt, found.output, found.maximum) >= 0
