"""The effective configuration as one tree of frozen values.

Field names are the TOML keys. Defaults here are the product's defaults; ``schema.json`` beside
this file says what each key may hold and is what validates a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

ENGINE = "mlx"
"""The engine's backend, where the configuration gives it no other name."""

BackendType: TypeAlias = Literal["mlx", "anthropic", "openai", "scripted"]
Profile: TypeAlias = Literal[
    "auto",
    "openai",
    "lmstudio",
    "mlx-lm",
    "vllm-mlx",
    "vllm",
    "ollama",
    "openrouter",
    "litellm",
    "generic",
]
Strategy: TypeAlias = Literal[
    "shuffle", "round-robin", "priority", "least-busy", "usage", "latency", "cost", "cache-aware"
]
CacheMark: TypeAlias = Literal["system", "last_user"]
SearchProvider: TypeAlias = Literal["duckduckgo", "brave", "tavily", "serpapi", "searxng"]
TierChoice: TypeAlias = Literal["off", "light", "standard", "strong", "auto"]
Overflow: TypeAlias = Literal["refuse", "clear_tools", "window", "compress"]
Summaries: TypeAlias = Literal["extract", "model"]
SLOT = "slot:"
SLOTS = ("opus", "sonnet", "haiku", "subagent")
"""What may follow :data:`SLOT` in a route's ``match``: the places a client has for a model."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = 8082
    api_key: str = ""
    admin_key: str = ""
    max_body_mb: int = 64
    gzip: bool = True
    gzip_streams: bool = False


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """``small`` is a text for :meth:`Target.parse`, empty for none. ``context_limit`` 0 means the
    model's own window; sampling ``None``: the model's own."""

    default: str = ""
    small: str = ""
    context_limit: int = 0
    max_output_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


@dataclass(frozen=True, slots=True)
class PerformanceSettings:
    """Intervals in seconds, chunks in tokens; ``stream_chunk_size`` tokens per delta."""

    keepalive_interval: float = 5.0
    progress_interval: float = 3.0
    stream_chunk_size: int = 1
    prefill_chunk: int = 512
    max_running: int = 8
    max_waiting: int = 64


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """``memory_gb`` 0 means a quarter of the machine's memory. A reset empties the cache in
    memory; 0 never.

    On disk a GB has 10**9 bytes: ``disk_gb`` 0 means the smaller of 20 and a tenth of what is
    free, ``disk_writes_gb_per_day`` 0 no limit. ``l1`` and ``l3`` are the KV cache in memory and
    on disk, ``l2`` and ``response_disk`` whole answers; an MB has 2**20 bytes.
    """

    l1: bool = True
    memory_gb: float = 0.0
    kv_bits: Literal[0, 4, 8] = 0
    pin_main: bool = True
    warm_up: bool = True
    l3: bool = True
    disk_gb: float = 0.0
    disk_writes_gb_per_day: float = 50.0
    echo: bool = True
    reset_after_requests: int = 0
    reset_over_tokens: int = 0
    l2: bool = True
    response_mb: int = 128
    response_ttl_s: float = 3600.0
    response_disk: bool = False
    persistent_days: int = 30
    persistent_mb: int = 512
    semantic: bool = False
    semantic_threshold: float = 0.97
    embeddings: str = "wordllama"
    vectors: str = "local"
    redis_url: str = field(default="", repr=False)
    redis_private: bool = False
    cache_marks: tuple[CacheMark, ...] = ("system", "last_user")


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """GB of 2**30 bytes. 0: the limit and the buffer cache from the machine, nothing wired."""

    limit_gb: float = 0.0
    buffer_cache_gb: float = 0.0
    wired_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request may go: a backend, and its name of the model; empty: the asked-for one."""

    backend: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """``NAME`` or ``NAME/model``; the model's name may have slashes itself."""
        backend, _, model = text.partition("/")
        return cls(backend, model)


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Which keys mean something for which type is in ``schema.json``.

    Times are in seconds, prices in dollars per million tokens. ``max_concurrency`` and
    ``context_limit`` 0: none known. Of a key that comes from the environment (``api_key_env``),
    ``api_key`` is its value.
    """

    type: BackendType = "mlx"
    enabled: bool = True
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    api_key_env: str = ""
    profile: Profile = "auto"
    script: str = ""
    weight: float = 1.0
    priority: int = 0
    max_concurrency: int = 0
    max_waiting: int = 64
    price_in: float = 0.0
    price_out: float = 0.0
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    connect_timeout: float = 5.0
    headers_timeout: float = 300.0
    idle_timeout: float = 120.0
    context_limit: int = 0


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """``match`` is an fnmatch pattern over the asked-for name, or :data:`SLOT` and a slot.

    ``targets`` and the fallbacks are texts for :meth:`Target.parse`. Every condition given must
    hold: one of the ``roles``, one of the ``tools``, every header; ``max_tokens`` 0 is no limit.
    """

    match: str
    targets: tuple[str, ...]
    strategy: Strategy = "shuffle"
    affinity: bool = True
    fallback: tuple[str, ...] = ()
    fallback_context: tuple[str, ...] = ()
    fallback_overloaded: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    min_tokens: int = 0
    max_tokens: int = 0
    tools: tuple[str, ...] = ()

    @property
    def reaches(self) -> Iterator[Target]:
        """Every target, those of the fallbacks included."""
        for text in (
            *self.targets,
            *self.fallback,
            *self.fallback_context,
            *self.fallback_overloaded,
        ):
            yield Target.parse(text)


@dataclass(frozen=True, slots=True)
class ResilienceSettings:
    """Times in seconds. 0 is never for ``slow_ttft_s``, ``health_interval_s``, and what trips a
    breaker: failures in a row or their ratio."""

    retries: int = 2
    budget_s: float = 20.0
    backoff_s: float = 0.5
    backoff_max_s: float = 8.0
    breaker_failures: int = 5
    breaker_window_s: float = 60.0
    breaker_ratio: float = 0.5
    breaker_open_s: float = 30.0
    breaker_probes: int = 1
    breaker_successes: int = 2
    slow_ttft_s: float = 0.0
    cooldown_s: float = 5.0
    health_interval_s: float = 30.0
    continue_streams: bool = False


@dataclass(frozen=True, slots=True)
class KeySettings:
    """A virtual key: the SHA-256 of its text in hex, and what it may use; 0 is no limit.

    ``rpm`` and ``tpm`` are requests and tokens a minute; a day begins at midnight UTC.
    ``models`` are fnmatch patterns over the asked-for name, none: every model.
    """

    sha256: str = field(default="", repr=False)
    rpm: int = 0
    tpm: int = 0
    tokens_per_day: int = 0
    budget_usd: float = 0.0
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Web search: ``providers`` in the order in which they are asked, none: it is off. The pages
    of the first ``pages`` results are read.

    Of a key that comes from the environment (``…_env``), the key itself is its value. Times are
    in seconds, an MB has 2**20 bytes; ``cache_ttl_s`` 0 keeps no results.
    """

    providers: tuple[SearchProvider, ...] = ("duckduckgo",)
    brave_key: str = field(default="", repr=False)
    brave_key_env: str = ""
    tavily_key: str = field(default="", repr=False)
    tavily_key_env: str = ""
    serpapi_key: str = field(default="", repr=False)
    serpapi_key_env: str = ""
    searxng_url: str = ""
    timeout_s: float = 8.0
    max_results: int = 8
    max_tokens: int = 2000
    pages: int = 0
    cache_ttl_s: float = 3600.0
    cache_mb: int = 16
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    proactive: bool = False


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """``disabled_rules`` names canonical-form rules that stay off.

    ``tier`` is how far system texts and tools are shortened, ``budget_tokens`` what they may take
    for ``auto`` to leave them (0: a quarter of the window). ``keep``, ``drop`` and the names of
    ``replace`` are regular expressions, ``defer`` fnmatch patterns of tools that are only named.
    ``overflow`` is what happens to a conversation that is
    longer than the window, ``overflow_keep`` the share of the window that it then still takes.
    ``summaries`` says who writes those of ``compress``; a model has ``summary_seconds`` for one.
    """

    disabled_rules: tuple[str, ...] = ()
    tier: TierChoice = "off"
    budget_tokens: int = 0
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    defer: tuple[str, ...] = ()
    overflow: Overflow = "refuse"
    overflow_keep: float = 0.5
    keep_tool_results: int = 3
    summaries: Summaries = "extract"
    summary_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class McpSettings:
    """An MCP server: a ``command`` that is started, or a ``url``; with neither, the one of that
    name in ``tools.mcp_file``.

    ``offer`` and ``run`` are fnmatch patterns over the server's own names of its tools: what the
    model may be told of, and what runs without asking anybody. Times are in seconds; a
    ``cache_ttl_s`` of 0 keeps no result.
    """

    enabled: bool = True
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    url: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    offer: tuple[str, ...] = ("*",)
    run: tuple[str, ...] = ()
    start_timeout_s: float = 10.0
    call_timeout_s: float = 60.0
    max_result_chars: int = 40_000
    cache_ttl_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """``constrain`` holds the model's calls to their schemas while it writes them, ``stream``
    sends arguments as they are written, ``regenerate`` has a call that can't be repaired written
    once more; what is wrong after all is delivered or shown as text (``on_invalid``). ``dialect``
    names a family of models, empty: by the model's own template. ``mcp_file`` is a JSON file of
    MCP servers in the client's own format, ``mcp_rounds`` how often in one answer calls may run
    here."""

    dialect: str = ""
    constrain: bool = True
    stream: bool = True
    regenerate: bool = True
    on_invalid: Literal["deliver", "text"] = "deliver"
    mcp_file: str = ""
    mcp_rounds: int = 8


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``level`` 0 quiet … 3 everything; ``bodies`` stores messages; ``retention_days`` 0 keeps."""

    level: int = 1
    traces: bool = False
    stream_log: bool = False
    bodies: bool = True
    retention_days: int = 30


@dataclass(frozen=True, slots=True)
class UiSettings:
    theme: str = "anyclaude-dark"
    keymap: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything, plus the data folder (``--db`` moves the database alone)."""

    data_dir: Path
    db: Path
    server: ServerSettings = ServerSettings()
    model: ModelSettings = ModelSettings()
    performance: PerformanceSettings = PerformanceSettings()
    cache: CacheSettings = CacheSettings()
    memory: MemorySettings = MemorySettings()
    backends: tuple[tuple[str, BackendSettings], ...] = ((ENGINE, BackendSettings()),)
    routes: tuple[RouteSettings, ...] = ()
    resilience: ResilienceSettings = ResilienceSettings()
    keys: tuple[tuple[str, KeySettings], ...] = ()
    search: SearchSettings = SearchSettings()
    prompt: PromptSettings = PromptSettings()
    mcp: tuple[tuple[str, McpSettings], ...] = ()
    tools: ToolSettings = ToolSettings()
    log: LogSettings = LogSettings()
    ui: UiSettings = UiSettings()
    sources: tuple[tuple[str, str], ...] = field(default_factory=tuple)

    @property
    def engine(self) -> str:
        """The name of the backend that is the engine in this process; empty when there is none."""
        engines = [name for name, backend in self.backends if backend.type == "mlx"]
        enabled = [name for name in engines if dict(self.backends)[name].enabled]
        return next(iter(enabled or engines), "")

    @property
    def reachable(self) -> frozenset[str]:
        """The backends that a request may be sent to: without routes the engine, and ``small``."""
        routed = {target.backend for route in self.routes for target in route.reaches}
        wanted = routed if self.routes else {self.engine}
        if self.model.small:
            wanted = {*wanted, Target.parse(self.model.small).backend}
        return frozenset(n for n, backend in self.backends if n in wanted and backend.enabled)

    @property
    def engine_reachable(self) -> bool:
        """Whether a request may be sent to the engine; if not, no model is to be loaded."""
        return self.engine in self.reachable

    @property
    def engine_off(self) -> str:
        """Why the engine in this process never answers, as a sentence; empty when it may."""
        if self.engine_reachable or self.switched_off:
            return self.switched_off
        if self.engine and dict(self.backends)[self.engine].enabled:
            return f"no route leads to the engine (backends.{self.engine}), so it loads no model"
        return "no backend of type mlx is switched on in the configuration, so no model loads here"

    @property
    def switched_off(self) -> str:
        """Why nothing will ever answer here, as a sentence; empty when something may."""
        if self.reachable:
            return ""
        if self.routes:
            return (
                "every backend that a route leads to is switched off in the configuration, so no"
                " model answers here; set its enabled to true and start anyclaude again"
            )
        return (
            f"backends.{self.engine or ENGINE}.enabled is false in the configuration, so no model"
            " answers here; set it to true and start anyclaude again"
        )
