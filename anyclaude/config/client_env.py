"""The environment that points Claude Code at us, computed in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

OPEN_TOKEN = "local"
"""Sent where no key is asked for: the client wants one all the same."""

CLIENT_PROMPT_TOKENS = 13_000
"""Claude Code's own prompt for a model name it doesn't know, tools included (measured)."""

CLIENT_RESERVE_TOKENS = 13_000
"""What it keeps free before the end of its window besides one answer (measured)."""

SMALL_WINDOW = 32_768
"""Below this the client's own prompt and its reserves leave it no room to work."""

_MASKING = (
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)


def client_env(
    base_url: str, token: str, model: str, context_limit: int, max_output_tokens: int = 0
) -> tuple[tuple[str, str], ...]:
    """Variables and values, in the order they are printed.

    ``context_limit`` is the true window in tokens, 0 when it isn't known; an empty ``token``
    means the server asks for none. ``max_output_tokens`` is the server's own limit for one
    answer, 0 for :func:`max_output` of the window.

    The client compacts its :data:`CLIENT_RESERVE_TOKENS` and one answer before the end of the
    window it was told. Of a window under :data:`SMALL_WINDOW` that leaves nothing: told of 8,192
    it compacts on the third turn, and with compaction switched off it stops at half (measured on
    2.1.330). There it is told the window plus what it holds back, so that it compacts where the
    window really ends.
    """
    name = client_model(model)
    pairs = [
        ("ANTHROPIC_BASE_URL", base_url),
        ("ANTHROPIC_AUTH_TOKEN", token or OPEN_TOKEN),
        ("ANTHROPIC_MODEL", name),
        ("ANTHROPIC_DEFAULT_OPUS_MODEL", name),
        ("ANTHROPIC_DEFAULT_SONNET_MODEL", name),
        ("ANTHROPIC_DEFAULT_HAIKU_MODEL", name),
    ]
    answer = max_output_tokens or (max_output(context_limit) if context_limit > 0 else 0)
    if context_limit > 0:
        held_back = CLIENT_RESERVE_TOKENS + answer if context_limit < SMALL_WINDOW else 0
        pairs.append(("CLAUDE_CODE_MAX_CONTEXT_TOKENS", str(context_limit + held_back)))
    if answer:
        pairs.append(("CLAUDE_CODE_MAX_OUTPUT_TOKENS", str(answer)))
    return (
        *pairs,
        ("CLAUDE_CODE_ATTRIBUTION_HEADER", "0"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("API_TIMEOUT_MS", "3600000"),
        ("CLAUDE_STREAM_IDLE_TIMEOUT_MS", "1800000"),
    )


def client_model(model: str) -> str:
    """A name the client passes on and honours the window of.

    It ignores ``CLAUDE_CODE_MAX_CONTEXT_TOKENS`` for names that begin with ``claude-``; the
    server answers to every name, so such a model gets another.
    """
    honoured = model and not model.lower().startswith("claude-")
    return model if honoured else f"local-{model or 'model'}"


def max_output(context_limit: int) -> int:
    """Tokens for one answer: an eighth of the window, within 1,024 and 16,384.

    The client holds this much back before it compacts: at 32k more than 4,096 would make it
    compact at once and lose the prompt.
    """
    return max(1024, min(16_384, context_limit // 8))


def child_env(inherited: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The environment for a client we start ourselves.

    Variables that would send it elsewhere are taken out, and a proxy is told to leave our
    address alone.
    """
    env = {k: v for k, v in inherited.items() if k not in _MASKING}
    env.update(pairs)
    if any(k.lower() in ("http_proxy", "all_proxy") and v for k, v in env.items()):
        host = urlsplit(env["ANTHROPIC_BASE_URL"]).hostname or "127.0.0.1"
        for name in ("NO_PROXY", "no_proxy"):
            env[name] = ",".join(filter(None, (env.get(name, ""), host)))
    return env
