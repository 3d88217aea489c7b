"""The effective configuration as one tree of frozen values.

Field names are the TOML keys. Defaults here are the product's defaults; ``schema.json`` beside
this file says what each key may hold and is what validates a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_SWITCHED_OFF = (
    "backends.mlx.enabled is false in the configuration, so no model answers here; set it to true"
    " and start anyclaude again"
)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = 8082
    api_key: str = ""
    admin_key: str = ""
    max_body_mb: int = 64


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """``context_limit`` 0 means the model's own window; sampling ``None``: the model's own."""

    default: str = ""
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
    free, ``disk_writes_gb_per_day`` 0 no limit.
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


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """GB of 2**30 bytes. 0: the limit and the buffer cache from the machine, nothing wired."""

    limit_gb: float = 0.0
    buffer_cache_gb: float = 0.0
    wired_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class BackendSettings:
    type: Literal["mlx"] = "mlx"
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """``disabled_rules`` names canonical-form rules that stay off."""

    disabled_rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """``constrain`` holds the model's calls to their schemas while it writes them, ``stream``
    sends arguments as they are written, ``regenerate`` has a call that can't be repaired written
    once more; what is wrong after all is delivered or shown as text (``on_invalid``). ``dialect``
    names a family of models, empty: by the model's own template."""

    dialect: str = ""
    constrain: bool = True
    stream: bool = True
    regenerate: bool = True
    on_invalid: Literal["deliver", "text"] = "deliver"


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
    backends: tuple[tuple[str, BackendSettings], ...] = (("mlx", BackendSettings()),)
    prompt: PromptSettings = PromptSettings()
    tools: ToolSettings = ToolSettings()
    log: LogSettings = LogSettings()
    ui: UiSettings = UiSettings()
    sources: tuple[tuple[str, str], ...] = field(default_factory=tuple)

    @property
    def switched_off(self) -> str:
        """Why no model will ever answer here, as a sentence; empty when one may."""
        return "" if any(backend.enabled for _, backend in self.backends) else _SWITCHED_OFF
