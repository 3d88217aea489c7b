"""A model double for the real engine: the scripted model, with a gate before every pass.

Its KV cache holds the token ids themselves and every answer is computed from what the cache
holds, not from what was sent. Everything around it is real: the batch, mlx-lm's caches, the
tokenizer, the chat template, the prefix tree.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlx.nn as nn

from anyclaude.engine.load import LoadedModel, load_model
from anyclaude.engine.scripted import ScriptedModel
from anyclaude.engine.template import ToolFallback
from anyclaude.tools.families import FAMILIES, choose
from anyclaude.tools.families.hermes import DIALECT, hermes_result, hermes_tool_section
from anyclaude.types import Sampling

Script = Callable[[str], str]
"""From the whole prompt as text to the answer as text."""

FALLBACK = ToolFallback(DIALECT, hermes_tool_section, hermes_result, choose)


@dataclass
class Gate:
    """Lets a test hold the model before a step, and count its steps."""

    open: threading.Event = field(default_factory=threading.Event)
    prefill_calls: int = 0
    prefill_tokens: int = 0
    decode_calls: int = 0
    fail_next: BaseException | None = None

    def __post_init__(self) -> None:
        self.open.set()

    def before(self) -> None:
        self.open.wait(30)
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error

    def read(self, tokens: int) -> None:
        self.prefill_calls += 1
        self.prefill_tokens += tokens

    def wrote(self, rows: int) -> None:
        self.decode_calls += 1


class TokenMemory(ScriptedModel):
    """The scripted model behind a gate."""

    def __init__(
        self, tokenizer: Any, vocab: int, eos: int, script: Script, gate: Gate, width: int = 1
    ) -> None:
        super().__init__(tokenizer, vocab, eos, script, gate, width)


@functools.lru_cache(maxsize=2)
def embedded_base(path: Path, dialect: str = "hermes") -> LoadedModel:
    """Tokenizer and template of the embedded model, loaded once; its weights are let go."""
    words = replace(FALLBACK, dialect=FAMILIES[dialect])
    loaded = load_model(path, "embedded", lambda fraction, what: None, words)
    return replace(loaded, model=nn.Module(), head=None)


@dataclass(frozen=True)
class DoubleLoader:
    """A model loader for the engine: SmolLM2's tokenizer and template over the double.

    ``fail`` names models that cannot be loaded; ``width`` is how often each key holds its id;
    ``dialect`` is the family whose calls it writes.
    """

    embedded: Path
    script: Script
    context_limit: int = 200_000
    gate: Gate = field(default_factory=Gate)
    width: int = 1
    fail: frozenset[str] = frozenset()
    dialect: str = "hermes"
    before_load: list[Callable[[], None]] = field(default_factory=list)
    made: list[weakref.ref[TokenMemory]] = field(default_factory=list)

    def alive(self) -> int:
        """How many of the models made so far are still in memory."""
        return sum(ref() is not None for ref in self.made)

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> LoadedModel:
        for look in self.before_load:
            look()
        if name in self.fail:
            raise RuntimeError(f"{name} is broken on purpose")
        base = embedded_base(self.embedded, self.dialect)
        progress(0.5, "loading the double")
        eos = base.tokenizer.convert_tokens_to_ids("<|im_end|>")
        model = TokenMemory(
            base.tokenizer, len(base.tokenizer), eos, self.script, self.gate, self.width
        )
        self.made.append(weakref.ref(model))
        return replace(
            base,
            name=name,
            model=model,
            context_limit=self.context_limit,
            fingerprint=f"double-{name}",
            defaults=Sampling(),
        )
